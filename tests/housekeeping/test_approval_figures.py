"""What Prometheus is told of answers that wait, and a dry run of those that would."""

from __future__ import annotations

from typing import Any

import pytest

from apps.events.models import EventBody
from apps.housekeeping.metrics import ApprovalCollector
from apps.pipelines.dry_run import find_hold
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.approvals import ask_for_a_yes, make_held


def collect() -> dict[str, float]:
    return {
        sample.name: sample.value
        for metric in ApprovalCollector().collect()
        for sample in metric.samples
    }


@pytest.mark.django_db
def test_nothing_waits_and_no_deadline_is_told() -> None:
    assert collect() == {"pipeline_approvals_waiting": 0, "pipeline_approval_oldest_seconds": 0}


def test_the_oldest_and_the_next_deadline_are_told(
    settings: Any, triage: Pipeline, helpdesk: Source
) -> None:
    ask_for_a_yes(triage)
    make_held(helpdesk)
    old = make_held(helpdesk, held_h_ago=3)
    told = collect()
    assert told["pipeline_approvals_waiting"] == 2
    assert told["pipeline_approval_oldest_seconds"] == pytest.approx(3 * 3600, abs=120)
    deadline = told["pipeline_approval_deadline_timestamp_seconds"]
    assert deadline == pytest.approx(old.deadline.timestamp(), abs=1)


def test_a_dry_run_tells_what_would_wait(triage: Pipeline, helpdesk: Source) -> None:
    ask_for_a_yes(triage, rule="event.text == 'hello' && answer.category == 'x'")
    event = make_held(helpdesk, {"category": "x"}).event
    kept = EventBody.objects.get(event=event)
    body = bytes(kept.raw), kept.content_type
    version = triage.current_version
    assert version
    assert "matches the rule" in find_hold(version, {"category": "x"}, body)
    assert find_hold(version, {"category": "y"}, body) == ""
