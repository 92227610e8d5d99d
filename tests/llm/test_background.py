"""A call in the background is sent once; from then on its id is enough, whoever asks by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from apps.events.models import Event, Step
from apps.llm import background, ledger
from apps.llm.models import LLMCall, Provider
from apps.llm.provider import (
    LLMError,
    OutcomeUnknown,
    ProviderRefused,
    ProviderUnreachable,
    RateLimited,
)
from apps.llm.responses_api import NotLookedAt, ResponseGone, ResponseMissing, StillAtWork
from apps.llm.responses_format import ResponseCancelled, ResponseFailed, ResponseRefused
from apps.llm.step_errors import AnswerInvalid, AnswerStopped, CallInFlight, CallLost
from apps.pipelines.models import Pipeline, PipelineVersion
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.background_cases import (
    begin,
    fail_with,
    grow_missing,
    grow_old,
    hold,
    lose_track,
)
from tests.llm.conftest import Ask
from tests.llm.test_providers import make_provider
from workers.contracts import Verdict

MakeCase = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_background(settings: Any, valkey_url: str) -> None:
    settings.LLM_BACKGROUND = True
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_BREAKER_FAILURES = 0


@pytest.fixture
def call_again(triage: Pipeline) -> None:
    """The pipeline calls again where a call may have been paid."""
    PipelineVersion.objects.update(on_unknown=PipelineVersion.OnUnknown.CALL_AGAIN)


def test_a_request_is_handed_over_and_its_answer_read_by_the_id(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 10, 100
    event = make_case("e1: bg:queued,in_progress,ok")
    begin(ask, event)
    waiting = fail_with(ask, event, StillAtWork)
    assert (waiting.verdict, waiting.retry_after_s) == (Verdict.WAIT, 1.0)
    fail_with(ask, event, StillAtWork)
    answer = ask(event)
    assert (answer.answer, answer.reused, answer.cost_usd) == (
        {"category": "x"}, False, Decimal("0.003"),
    )  # fmt: skip
    assert (fake_llm.calls["e1"], fake_llm.looks["e1"]) == (1, 3)
    call = event.llm_calls.get()
    assert (call.state, call.input_tokens, call.output_tokens) == ("answered", 100, 20)
    assert (call.is_response_open, call.kept_seat, call.cost_usd) == (
        False, None, Decimal("0.003"),
    )  # fmt: skip
    assert ask(event).reused


def test_the_provider_keeps_it_under_the_calls_mark(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    call = begin(ask, make_case("e1"))
    (sent,) = fake_llm.requests
    assert (sent["background"], sent["store"]) == (True, True)
    assert sent["metadata"] == call.mark
    assert sent["text"]["format"]["schema"]["required"] == ["category"]
    assert sent["input"] == call.request["messages"]


def test_the_same_request_is_reused_however_it_was_asked(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1")
    begin(ask, event)
    settings.LLM_BACKGROUND = False  # what is at work is asked for by its id all the same
    assert not ask(event).reused
    assert ask(event).reused
    assert fake_llm.calls["e1"] == 1


@pytest.mark.parametrize("trouble", ["500", "503", "429", "401", "reset", "garbage"])
def test_a_look_that_fails_says_nothing_of_the_call(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, trouble: str
) -> None:
    event = make_case(f"e1: bg:{trouble},ok")
    begin(ask, event)
    error = fail_with(ask, event, NotLookedAt)
    assert (error.verdict, error.permanent) == (Verdict.WAIT, False)
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


def test_a_look_waits_as_long_as_the_provider_says(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:429/17,ok")
    begin(ask, event)
    assert fail_with(ask, event, NotLookedAt).retry_after_s == 17


def test_a_provider_that_is_away_is_waited_for(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1")
    begin(ask, event)
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    fail_with(ask, event, NotLookedAt)
    settings.OPENAI_BASE_URL = fake_llm.base_url
    assert ask(event).answer == {"category": "x"}


def test_a_long_answer_is_asked_for_more_seldom(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:queued")
    call = begin(ask, event)
    for age_s, wait_s in ((40, 10), (3000, 30)):
        LLMCall.objects.filter(pk=call.pk).update(intended_at=call.intended_at)
        grow_old(call, age_s)
        assert fail_with(ask, event, StillAtWork).retry_after_s == pytest.approx(wait_s, abs=1)


@pytest.mark.parametrize(
    ("plan", "error", "state"),
    [
        ("bg:failed/server_error", ResponseFailed, "refused"),
        ("bg:failed/invalid_prompt", ResponseRefused, "refused"),
        ("bg:failed/rate_limit_exceeded", RateLimited, "refused"),
        ("bg:gone", ResponseGone, "unknown"),
        ("bg:cancelled", ResponseCancelled, "unknown"),
    ],
)
def test_a_response_that_ends_without_an_answer_says_what_that_means(
    make_case: MakeCase,
    ask: Ask,
    fake_llm: FakeLLM,
    plan: str,
    error: type[LLMError],
    state: str,
) -> None:
    event = make_case(f"e1: {plan}")
    begin(ask, event)
    if error is ResponseGone:
        lose_track(ask, event)
    fail_with(ask, event, error)
    call = event.llm_calls.get()
    assert (call.state, call.is_response_open, call.kept_seat) == (state, False, None)
    assert call.response_id == "resp_1"  # for whoever asks the provider's support
    if state == "unknown":
        fail_with(ask, event, OutcomeUnknown)
    else:
        begin(ask, event)  # not paid: it may be sent again
    assert fake_llm.calls["e1"] == (1 if state == "unknown" else 2)


@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_one_that_was_broken_off_and_counted_tokens_is_paid_and_held(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any, word: str
) -> None:
    settings.LLM_PRICE_INPUT = 10
    event = make_case(f"e1: bg:{word}/paid ok")
    begin(ask, event)
    for _ in range(2):  # the run asks nothing again, however often it goes on
        error = fail_with(ask, event, AnswerStopped)
        assert (error.code, error.verdict) == (f"answer_{word}", Verdict.HELD)
    call = event.llm_calls.get()
    assert (call.state, call.cost_usd) == ("answered", Decimal("0.001"))
    assert event.hold(Step.LLM, error.code, str(error))
    assert event.retry()  # a person says: call again
    begin(ask, event)
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 2


@pytest.mark.parametrize("word", ["failed", "cancelled"])
def test_a_pipeline_that_says_so_asks_again_for_what_was_broken_off(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, call_again: None, word: str
) -> None:
    event = make_case(f"e1: bg:{word}/paid ok")
    event.pipeline_version.refresh_from_db()
    begin(ask, event)
    error = fail_with(ask, event, AnswerStopped)
    assert (error.code, error.verdict) == (f"answer_{word}", Verdict.FAILED)
    begin(ask, event)
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 2


def test_a_pipeline_that_says_so_asks_again_for_what_it_has_stopped_itself(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any, call_again: None
) -> None:
    settings.LLM_PRICE_INPUT = 10
    fake_llm.cancel_word = "cancelled/paid"
    event = make_case("e1: bg:queued ok")
    event.pipeline_version.refresh_from_db()
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    fail_with(ask, event, CallLost)
    begin(ask, event)
    assert fake_llm.cancelled == ["resp_1"]
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 2
    assert sum(event.llm_calls.values_list("cost_usd", flat=True)) == Decimal("0.002")


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        *(("refusal", "answer_refused"), ("filtered", "answer_refused")),
        *(("truncated", "answer_truncated"), ("empty", "answer_empty")),
        *(("huge", "answer_too_large"), ("tool-call", "answer_empty")),
    ],
)
def test_an_answer_that_is_none_is_paid_and_final(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, word: str, problem: str
) -> None:
    event = make_case(f"e1: {word}")
    begin(ask, event)
    assert fail_with(ask, event, AnswerInvalid).code == problem
    assert event.llm_calls.get().problem == problem
    assert fake_llm.calls["e1"] == 1


def test_an_answer_off_the_schema_is_repaired_in_the_background_too(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema ok")
    begin(ask, event)
    assert begin(ask, event).step == "llm:repair"
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 2


@pytest.mark.parametrize(
    ("plan", "error", "state"),
    [
        *(("429", RateLimited, "refused"), ("400", ProviderRefused, "refused")),
        *(("reset", OutcomeUnknown, "unknown"), ("cut", OutcomeUnknown, "unknown")),
    ],
)
def test_handing_over_is_as_careful_as_a_chat_completion(
    make_case: MakeCase,
    ask: Ask,
    fake_llm: FakeLLM,
    plan: str,
    error: type[LLMError],
    state: str,
) -> None:
    event = make_case(f"e1: {plan}")
    fail_with(ask, event, error)
    assert event.llm_calls.get().state == state
    assert fake_llm.calls["e1"] == 1


def test_nothing_is_sent_where_no_connection_comes_up(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    event = make_case("e1")
    fail_with(ask, event, ProviderUnreachable)
    assert event.llm_calls.get().state == "refused"


def test_a_provider_without_background_responses_is_told_from_others(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    error = fail_with(ask, make_case("e1: 404"), ProviderRefused)
    assert "LLM_BACKGROUND" in str(error)


def test_one_that_takes_too_long_is_given_up_and_may_be_looked_up(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued,ok")
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    hold(ask, event)
    assert event.error_code == "llm_response_late"
    call = event.llm_calls.get()
    assert (call.state, call.is_response_open) == ("unknown", True)


def test_calling_again_takes_the_answer_that_has_come_meanwhile(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued,ok")
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    hold(ask, event)
    assert event.retry()
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


@pytest.mark.parametrize("word", ["cancelled", "cancelled/paid"])
def test_calling_again_stops_the_one_that_is_still_at_work(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any, word: str
) -> None:
    settings.LLM_PRICE_INPUT = 10
    fake_llm.cancel_word = word
    event = make_case("e1: bg:queued ok")
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    hold(ask, event)
    assert event.retry()
    begin(ask, event)
    assert fake_llm.cancelled == ["resp_1"]
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 2
    paid = sum(event.llm_calls.values_list("cost_usd", flat=True))
    assert paid == Decimal("0.002" if word.endswith("paid") else "0.001")


def test_a_pipeline_that_says_so_asks_again_for_what_is_gone(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:gone ok")
    PipelineVersion.objects.update(on_unknown=PipelineVersion.OnUnknown.CALL_AGAIN)
    event.pipeline_version.refresh_from_db()
    begin(ask, event)
    lose_track(ask, event)
    fail_with(ask, event, CallLost)
    begin(ask, event)
    assert ask(event).answer == {"category": "x"}


@pytest.mark.parametrize("policy", PipelineVersion.OnUnknown.values)
def test_that_an_id_is_not_known_for_a_moment_pays_nothing_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, policy: str
) -> None:
    event = make_case("e1: bg:gone,gone,queued,gone,ok ok")
    PipelineVersion.objects.update(on_unknown=policy)
    event.pipeline_version.refresh_from_db()
    begin(ask, event)
    error = fail_with(ask, event, ResponseMissing)
    assert (error.verdict, error.retry_after_s) == (Verdict.WAIT, 1.0)
    grow_missing(event.llm_calls.get(), background.MISSING_FOR * 0.9)
    fail_with(ask, event, ResponseMissing)
    fail_with(ask, event, StillAtWork)  # it is known again
    fail_with(ask, event, ResponseMissing)  # as if for the first time
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


def test_a_late_one_whose_id_is_not_known_for_a_moment_is_not_begun_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued,gone,ok ok")
    PipelineVersion.objects.update(on_unknown=PipelineVersion.OnUnknown.CALL_AGAIN)
    event.pipeline_version.refresh_from_db()
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    fail_with(ask, event, CallLost)
    fail_with(ask, event, ResponseMissing)
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


def test_a_worker_that_was_paused_before_it_noted_the_id_stops_what_it_had_begun(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_case("e1: bg:queued")
    keep = ledger.keep_response

    def keep_late(call: LLMCall, *fields: Any) -> bool:
        LLMCall.objects.filter(pk=call.pk).update(fence=call.fence + 1)  # somebody took over
        return keep(call, *fields)

    monkeypatch.setattr(ledger, "keep_response", keep_late)
    fail_with(ask, event, StillAtWork)
    assert fake_llm.cancelled == ["resp_1"]
    assert event.llm_calls.get().response_id == ""


def test_of_many_that_look_at_once_one_puts_the_answer_on_record(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    begin(ask, event)
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def look() -> None:
        start.wait()
        try:
            outcomes.append("reused" if ask(event).reused else "answered")
        except CallInFlight as error:
            outcomes.append(error.code)
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("answered") == 1
    assert len(outcomes) == 4
    assert fake_llm.calls["e1"] == 1


def test_a_provider_of_its_own_is_asked_as_its_row_says(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_BACKGROUND = False
    provider = make_provider(second_llm.base_url)
    Provider.objects.update(in_background=True)
    PipelineVersion.objects.update(provider="backup")
    event = make_case("e1: bg:queued,ok")
    event.refresh_from_db()  # with its version
    assert begin(ask, event).provider == "backup"
    fail_with(ask, event, StillAtWork)
    provider.delete()  # its row is gone, and comes back: nothing is lost in between
    fail_with(ask, event, NotLookedAt)
    make_provider(second_llm.base_url)
    assert ask(event).answer == {"category": "x"}
    assert (fake_llm.calls.total(), second_llm.calls["e1"]) == (0, 1)


def test_a_person_who_calls_again_is_not_kept_for_ever_by_one_that_cannot_be_asked(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued,400")
    grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
    hold(ask, event)
    assert event.retry()
    fail_with(ask, event, NotLookedAt)
    grow_old(event.llm_calls.get(), settings.LLM_BACKGROUND_TIMEOUT_S)
    fail_with(ask, event, StillAtWork)
    assert fake_llm.calls["e1"] == 2
