"""A failure that a look in the background tells is passed over as one of a direct call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm.models import Provider, ProviderModel
from apps.llm.provider import RateLimited
from apps.llm.responses_api import ResponseGone, StillAtWork
from apps.llm.responses_format import ResponseFailed, ResponseRefused
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.streams.clients import get_client
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.background_cases import begin, fail_with, lose_track
from tests.llm.conftest import Ask
from tests.llm.test_fallback import FIRST, SECOND, passed
from tests.llm.test_providers import make_provider
from workers.activities import do_ask
from workers.contracts import StepInput, Verdict

Case = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)
FAILED = "bg:failed/server_error"


@pytest.fixture(autouse=True)
def _in_background(settings: Any, valkey_url: str) -> None:
    settings.LLM_BACKGROUND = True
    settings.QUEUE_URLS = [valkey_url]
    get_client(valkey_url).flushall()


@pytest.fixture(autouse=True)
def backup(triage: Pipeline, second_llm: FakeLLM) -> Provider:
    """The pipeline asks `test-model` in the background, and then `second`, directly."""
    row = make_provider(second_llm.base_url)
    ProviderModel.objects.create(provider=row, name="second", input_price=0, output_price=0)
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"fallbacks": [SECOND]})
    return row


@pytest.mark.parametrize(
    ("plan", "code"),
    [(FAILED, "llm_response_failed"), ("bg:failed/rate_limit_exceeded", "llm_rate_limited")],
)
def test_the_second_answers_where_a_look_tells_that_the_first_has_failed(
    helpdesk: Source, fake_llm: FakeLLM, second_llm: FakeLLM, plan: str, code: str
) -> None:
    event = make_event(helpdesk, b'{"text": "hello [[e1: %s]]"}' % plan.encode(), status="running")
    second_llm.plan("e1", "ok")
    step = StepInput(event.pk.hex, 1, 1)
    assert do_ask(step).verdict == Verdict.WAIT
    assert do_ask(step).verdict == Verdict.DONE
    waited, ok = event.attempts.order_by("pk")
    assert (waited.outcome, ok.outcome, ok.number) == ("waited", "ok", 1)
    assert ok.route == passed(code)
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)


def test_a_prompt_that_the_first_refuses_in_the_background_is_asked_of_nobody_else(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:failed/invalid_prompt")
    begin(ask, event)
    fail_with(ask, event, ResponseRefused)
    assert second_llm.calls.total() == 0


def test_nobody_else_is_asked_after_a_response_that_is_gone(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:gone")
    begin(ask, event)
    lose_track(ask, event)
    fail_with(ask, event, ResponseGone)
    assert second_llm.calls.total() == 0


def test_a_repair_that_fails_in_the_background_is_asked_of_nobody_else(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    event = make_case(f"e1: wrong-schema {FAILED}")
    begin(ask, event)
    begin(ask, event)
    fail_with(ask, event, ResponseFailed)
    assert second_llm.calls.total() == 0


def test_an_answer_of_the_second_says_who_was_passed_over_before_it_was_begun(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, backup: Provider
) -> None:
    Provider.objects.update(in_background=True)
    fake_llm.plan("e1", "500", "ok")
    second_llm.plan("e1", "bg:queued,ok")
    event = make_case("e1")
    begin(ask, event)
    assert fail_with(ask, event, StillAtWork).route == passed("llm_provider_failed")
    assert ask(event).route == passed("llm_provider_failed")
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)


def test_where_the_second_fails_too_the_attempt_has_failed_and_names_both(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, backup: Provider
) -> None:
    Provider.objects.update(in_background=True)
    fake_llm.plan("e1", "500", "ok")
    second_llm.plan("e1", FAILED)
    event = make_case("e1")
    begin(ask, event)
    error = fail_with(ask, event, ResponseFailed)
    assert error.verdict == Verdict.FAILED
    assert error.route == SECOND | {"passed_over": [FIRST | {"code": "llm_provider_failed"}]}
    assert fake_llm.calls["e1"] == 1  # not again in the same attempt
    fail_with(ask, event, StillAtWork)
    assert ask(event).route == FIRST | {"passed_over": []}


def test_where_all_have_no_room_in_the_background_it_is_a_wait(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    second_llm.plan("e1", "429:30")
    event = make_case("e1: bg:failed/rate_limit_exceeded")
    begin(ask, event)
    error = fail_with(ask, event, RateLimited)
    assert (error.verdict, error.retry_after_s) == (Verdict.WAIT, 5)
