"""An event is paid for once, across retries, crashes and races."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, close_old_connections, connection
from django.utils import timezone

from apps.events.models import Event
from apps.llm import ledger
from apps.llm.models import LLMCall
from apps.llm.owner import get_owner
from apps.llm.provider import Completion, LLMError, OutcomeUnknown
from apps.llm.step import LLMAnswer, call_once
from apps.llm.step_errors import AnswerInvalid, CallInFlight, CallLost
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask, prepare_event
from workers.contracts import Verdict

MakeCase = Callable[[str], Event]
OTHER_PROCESS = "elsewhere/1/1"


def leave_intent(event: Event, owner: str = OTHER_PROCESS, age_s: float = 10_000) -> LLMCall:
    """What a worker leaves that was killed while it waited for the answer."""
    call = ledger.open_call(event, prepare_event(event))
    assert call
    call.owner, call.intended_at = owner, timezone.now() - timedelta(seconds=age_s)
    call.save()
    return call


def retry(event: Event) -> None:
    """What a person's retry changes for the step."""
    event.run += 1
    event.save()


def test_an_answer_is_returned_and_recorded(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    answer = ask(event)
    call = event.llm_calls.get()
    assert answer == LLMAnswer({"category": "x"}, call.cost_usd, reused=False)
    assert (call.state, call.answer, call.fence) == ("answered", '{"category": "x"}', 1)
    assert (call.input_tokens, call.output_tokens) == (100, 20)
    assert (call.provider, call.model) == ("", "test-model")  # that of the settings
    assert call.answered_at


def test_the_same_request_is_answered_from_the_record_for_nothing(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    first, second = ask(event), ask(event)
    assert second == LLMAnswer(first.answer, Decimal(0), reused=True)
    assert fake_llm.calls["e1"] == 1
    assert event.llm_calls.get().reused_count == 1


def test_a_retry_reuses_the_answer(make_case: MakeCase, ask: Ask, fake_llm: FakeLLM) -> None:
    event = make_case("e1")
    ask(event)
    retry(event)
    assert ask(event).reused
    assert fake_llm.calls["e1"] == 1


def test_the_intent_is_on_record_before_the_request_leaves(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: reset")
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert event.llm_calls.get().state == LLMCall.State.UNKNOWN


def test_a_call_of_a_killed_worker_is_held_and_not_sent_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    leave_intent(event)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            ask(event)
    assert fake_llm.calls["e1"] == 0
    assert event.llm_calls.get().state == LLMCall.State.UNKNOWN


def test_a_dead_process_of_this_host_is_known_to_be_dead_at_once(
    make_case: MakeCase, ask: Ask
) -> None:
    event = make_case("e1")
    leave_intent(event, owner=f"{get_owner().split('/')[0]}/4194305/1", age_s=0)
    with pytest.raises(OutcomeUnknown):
        ask(event)


def test_a_call_under_way_elsewhere_is_waited_for(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    leave_intent(event, age_s=0)
    with pytest.raises(CallInFlight) as caught:
        ask(event)
    assert caught.value.retry_after_s
    assert fake_llm.calls["e1"] == 0
    assert event.llm_calls.get().state == LLMCall.State.INTENT


@pytest.fixture
def calling_again(triage: Pipeline) -> PipelineVersion:
    """The same pipeline, with the policy to call again."""
    version = triage.current_version
    assert version
    return triage.publish(
        prompt=version.prompt,
        model=version.model,
        output_schema=version.output_schema,
        destination=version.destination,
        on_unknown="call_again",
    )


def test_a_pipeline_may_prefer_to_call_again(
    make_case: MakeCase, calling_again: PipelineVersion, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    leave_intent(event)
    assert not call_once(event, calling_again, prepare_event(event)).reused
    call = event.llm_calls.get()
    assert (call.state, call.fence, fake_llm.calls["e1"]) == ("answered", 2, 1)


def test_a_pipeline_that_calls_again_tries_a_lost_call_again(
    make_case: MakeCase, calling_again: PipelineVersion, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: reset ok")
    request = prepare_event(event)
    with pytest.raises(CallLost) as caught:
        call_once(event, calling_again, request)
    assert (caught.value.verdict, caught.value.permanent) == (Verdict.FAILED, False)
    assert not call_once(event, calling_again, request).reused


def test_a_persons_retry_of_a_held_call_asks_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: reset ok")
    with pytest.raises(OutcomeUnknown):
        ask(event)
    retry(event)
    assert not ask(event).reused
    assert fake_llm.calls["e1"] == 2


def test_an_answer_that_comes_late_is_kept_although_the_call_was_given_up(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    call = leave_intent(event)
    assert ledger.lose(call)
    assert ledger.answer(call, Completion('{"category": "late"}', "", 1, 1, ""), "", Decimal(1))
    assert ask(event).answer == {"category": "late"}
    assert fake_llm.calls["e1"] == 0


def test_a_paused_worker_that_wakes_up_cannot_overwrite_a_newer_call(make_case: MakeCase) -> None:
    event = make_case("e1")
    paused = leave_intent(event)
    ledger.lose(paused)
    newer = ledger.reopen(LLMCall.objects.get(), event)
    assert newer
    assert newer.fence == 2
    assert not ledger.answer(paused, Completion("{}", "", 1, 1, ""), "", Decimal(1))
    assert not ledger.refuse(paused)
    assert LLMCall.objects.get().state == LLMCall.State.INTENT


def test_two_workers_that_lost_the_same_call_open_it_once(make_case: MakeCase) -> None:
    event = make_case("e1")
    ledger.refuse(leave_intent(event))
    first, second = LLMCall.objects.get(), LLMCall.objects.get()
    assert ledger.reopen(first, event)
    assert ledger.reopen(second, event) is None


def test_a_worker_that_looked_late_does_not_open_a_third_call(make_case: MakeCase) -> None:
    event = make_case("e1")
    leave_intent(event)
    request = prepare_event(event)
    assert ledger.open_call(event, request, number=2)
    assert ledger.open_call(event, request, number=2) is None


def test_another_model_does_not_get_around_an_unknown_call(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    leave_intent(event)
    LLMCall.objects.update(request_hash="0" * 64)  # asked while OPENAI_MODEL named another model
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert fake_llm.calls["e1"] == 0


def test_a_paid_answer_that_cannot_be_used_is_not_asked_again_by_the_machine(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: empty ok")
    with pytest.raises(AnswerInvalid) as first:
        ask(event)
    with pytest.raises(AnswerInvalid) as second:
        ask(event)
    assert (first.value.code, second.value.code) == ("answer_empty", "answer_empty")
    assert second.value.cost_usd == 0
    assert fake_llm.calls["e1"] == 1


def test_a_persons_retry_of_an_unusable_answer_is_a_second_paid_call_on_its_own_row(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: empty ok")
    with pytest.raises(AnswerInvalid):
        ask(event)
    retry(event)
    assert ask(event).answer == {"category": "x"}
    steps = event.llm_calls.order_by("pk").values_list("step", "problem")
    assert list(steps) == [("llm", "answer_empty"), ("llm#2", "")]
    assert ask(event).reused


def test_each_event_pays_for_itself(helpdesk: Source, ask: Ask, fake_llm: FakeLLM) -> None:
    for _ in range(2):
        ask(make_event(helpdesk, b'{"text": "the same [[e1]]"}'))
    assert fake_llm.calls["e1"] == 2


class BriefOutage:
    """The database is away for the first two tries to record an answer."""

    def __init__(self) -> None:
        self.left = 2

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if self.left and sql.startswith("UPDATE") and "answered" in params:
            self.left -= 1
            raise OperationalError("the database is away")
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_a_paid_answer_survives_a_database_that_is_away_for_a_moment(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    with connection.execute_wrapper(outage := BriefOutage()):
        assert ask(event).answer == {"category": "x"}
    assert outage.left == 0
    assert event.llm_calls.get().state == LLMCall.State.ANSWERED


@pytest.mark.django_db(transaction=True)
def test_of_racing_workers_exactly_one_sends(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    fake_llm.latency_ms = 300
    event = make_case("e1")
    request, version = prepare_event(event), event.pipeline_version
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        try:
            outcomes.append("reused" if call_once(event, version, request).reused else "paid")
        except LLMError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close_old_connections()
    assert fake_llm.calls["e1"] == 1
    assert sorted(outcomes)[-1] == "paid"
    assert set(outcomes) <= {"paid", "llm_call_in_flight", "reused"}
    assert outcomes.count("paid") == 1


def test_an_answer_is_reused_after_the_default_model_has_changed(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    paid = ask(event)
    LLMCall.objects.update(request_hash="0" * 64)  # asked while OPENAI_MODEL named another model
    retry(event)
    again = ask(event)
    assert again.answer == paid.answer
    assert again.reused
    assert again.cost_usd == 0
    assert fake_llm.calls["e1"] == 1
