"""An answer that never arrived is found where the provider keeps it, and not paid a second time."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from apps.audit.models import AuditEntry
from apps.events import recording
from apps.events.models import Event, Status, Step
from apps.events.unknown_outcomes import LookUp, look_up_answer, mark_failed
from apps.llm import ledger
from apps.llm.lookup import NotKept, look_up
from apps.llm.models import LLMCall
from apps.llm.provider import OutcomeUnknown, ProviderUnreachable
from apps.llm.step_errors import AnswerInvalid
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask

MakeCase = Callable[[str], Event]


@pytest.fixture
def storing(settings: Any) -> None:
    settings.LLM_STORE_COMPLETIONS = True


@pytest.fixture
def hold(make_case: MakeCase, ask: Ask) -> Callable[[str], Event]:
    """An event held as the worker holds it, after this plan."""

    def make(marker: str) -> Event:
        event = make_case(marker)
        with pytest.raises(OutcomeUnknown) as caught:
            ask(event)
        assert event.hold(Step.LLM, caught.value.code, str(caught.value))
        return event

    return make


@pytest.mark.parametrize("behaviour", ["reset", "cut", "garbage"])
def test_a_lost_answer_is_found_and_the_event_goes_on_free(
    storing: None,
    hold: Callable[[str], Event],
    ask: Ask,
    fake_llm: FakeLLM,
    bob: Any,
    settings: Any,
    behaviour: str,
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 10, 100
    event = hold(f"e1: {behaviour}")
    assert look_up_answer(event, bob) == LookUp.FOUND
    event.refresh_from_db()
    assert (event.status, event.run) == (Status.RUNNING, 1)
    call = event.llm_calls.get()
    assert (call.state, call.input_tokens, call.output_tokens) == ("answered", 100, 20)
    assert recording.get_cost(event) == call.cost_usd == Decimal("0.003")
    answer = ask(event)
    assert (answer.answer, answer.reused) == ({"category": "x"}, True)
    assert fake_llm.calls["e1"] == 1
    entry = AuditEntry.objects.get(action="event.look_up")
    assert entry.details["outcome"] == "found"


def test_the_mark_names_the_event_and_leaves_the_record_as_it_was(
    storing: None, make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1")
    ask(event)
    call = event.llm_calls.get()
    sent = fake_llm.requests[0]
    assert sent["store"] is True
    assert sent["metadata"] == {
        "event": event.public_id,
        "step": "llm",
        "request": call.request_hash,
    }
    assert "store" not in call.request


def test_nothing_is_kept_unless_it_is_switched_on(
    hold: Callable[[str], Event], bob: Any, fake_llm: FakeLLM
) -> None:
    event = hold("e1: reset")
    with pytest.raises(NotKept):
        look_up_answer(event, bob)
    assert "store" not in fake_llm.requests[0]
    assert Event.objects.get().status == Status.HELD


def test_another_events_answer_is_not_taken(
    storing: None, hold: Callable[[str], Event], make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = hold("e1: reset")
    fake_llm.kept.clear()
    ask(make_case("e2"))
    assert len(fake_llm.kept) == 1
    assert not look_up(event)


def test_what_is_not_found_stays_held(
    storing: None, hold: Callable[[str], Event], bob: Any, fake_llm: FakeLLM
) -> None:
    event = hold("e1: reset")
    fake_llm.kept.clear()  # the request never arrived
    assert look_up_answer(event, bob) == LookUp.NOT_FOUND
    assert Event.objects.get().status == Status.HELD
    assert event.llm_calls.get().state == LLMCall.State.UNKNOWN


def test_a_provider_that_is_away_changes_nothing(
    storing: None, hold: Callable[[str], Event], bob: Any, settings: Any
) -> None:
    event = hold("e1: reset")
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    with pytest.raises(ProviderUnreachable):
        look_up_answer(event, bob)
    assert Event.objects.get().status == Status.HELD


def test_a_call_that_was_made_again_meanwhile_keeps_its_own_answer(
    storing: None,
    hold: Callable[[str], Event],
    fake_llm: FakeLLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = hold("e1: reset")
    read = ledger.find_calls

    def find_and_lose(event: Event) -> list[LLMCall]:
        calls = read(event)
        assert ledger.reopen(event.llm_calls.get(), event)  # a worker, after a person's retry
        return calls

    monkeypatch.setattr(ledger, "find_calls", find_and_lose)
    assert not look_up(event)
    call = event.llm_calls.get()
    assert (call.state, call.fence, call.answer) == ("intent", 2, "")


def test_a_found_answer_that_does_not_fit_is_repaired_and_not_asked_again(
    storing: None, hold: Callable[[str], Event], bob: Any, ask: Ask, fake_llm: FakeLLM
) -> None:
    fake_llm.answers["e1"] = {"unexpected": True}
    event = hold("e1: reset ok")
    assert look_up_answer(event, bob) == LookUp.FOUND
    with pytest.raises(AnswerInvalid):
        ask(event)
    steps = event.llm_calls.order_by("pk").values_list("step", "problem")
    assert list(steps) == [("llm", "answer_off_schema"), ("llm:repair", "answer_off_schema")]
    assert fake_llm.calls["e1"] == 2


def test_marking_failed_makes_a_dead_letter_once(hold: Callable[[str], Event], bob: Any) -> None:
    event = hold("e1: reset")
    other = Event.objects.get()
    assert mark_failed(event, bob)
    assert not mark_failed(other, bob)  # the page of somebody else, still open
    assert not mark_failed(event, bob)
    event.refresh_from_db()
    assert (event.status, event.error_code) == (Status.DEAD, "marked_failed")
    assert event.finished_at
    assert AuditEntry.objects.filter(action="event.fail", actor=bob).count() == 1
