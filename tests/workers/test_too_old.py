"""A worker that is older than a pipeline's version leaves its events to a newer one."""

from __future__ import annotations

import pytest

from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.needs import LEAST, NEEDS
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from workers import activities
from workers.activities import do_ask
from workers.contracts import UNDERSTANDS, StepInput, Verdict

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_older_worker_asks_nobody_and_uses_no_attempt(
    helpdesk: Source, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    PipelineVersion.objects.update(needs=UNDERSTANDS + 1)
    event = make_event(helpdesk, b'{"text": "hello [[e1]]"}', status="running")
    step = StepInput(event.pk.hex, 1, 1)
    result = do_ask(step)
    assert (result.verdict, result.code, result.retry_after_s) == (
        Verdict.WAIT,
        "worker_too_old",
        15.0,
    )
    assert fake_llm.calls.total() == 0
    monkeypatch.setattr(activities, "UNDERSTANDS", UNDERSTANDS + 1)  # the newer worker
    assert do_ask(step).verdict == Verdict.DONE
    assert [each.outcome for each in event.attempts.order_by("pk")] == ["waited", "ok"]


def test_a_version_records_what_it_needs_when_it_is_published(triage: Pipeline) -> None:
    version = triage.current_version
    assert version
    assert version.needs == LEAST
    stand_in = {"provider": "backup", "model": "second"}
    assert triage.publish(**version.get_values() | {"fallbacks": [stand_in]}).needs == 2
    assert triage.publish(**version.get_values() | stand_in).needs == 2
    approval = {"above": 100}
    assert triage.publish(**version.get_values() | {"approval": approval}).needs == 3
    assert triage.publish(**version.get_values()).needs == LEAST


def test_this_worker_understands_all_that_a_version_may_need() -> None:
    assert max(level for level, _ in NEEDS) == UNDERSTANDS


def test_it_was_decided_of_each_field_whether_an_older_worker_may_leave_it_out() -> None:
    """A new field that it may not: a row in NEEDS, and UNDERSTANDS one higher. Then add it here."""
    decided = {
        *("filter", "transform", "redaction", "prompt", "provider", "model", "fallbacks"),
        *("output_schema", "max_output_tokens", "repair", "on_unknown", "destination"),
        *("may_wait_h", "approval"),
    }
    assert {field.name for field in PipelineVersion.get_config_fields()} == decided
