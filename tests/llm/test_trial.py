"""A trial is paid once, recorded under its own step, and never the event's own answer."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from apps.events.models import Event
from apps.events.recording import get_cost
from apps.llm import ledger
from apps.llm.models import Budget, BudgetWait, LLMCall
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.llm.responses_api import StillAtWork
from apps.llm.trial import DRY_RUN, Trial, try_once
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.background_cases import grow_old
from tests.llm.conftest import Ask, prepare_event

MakeCase = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)


def attempt(event: Event, step: str = DRY_RUN, *, again: bool = False) -> Trial:
    return try_once(event, event.pipeline_version, prepare_event(event), step, again=again)


def test_a_trial_is_a_call_of_its_own_step_and_leaves_the_event(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    event = make_case("e1: ok")
    before = Event.objects.values().get(pk=event.pk)
    trial = attempt(event)
    call = event.llm_calls.get()
    assert (call.step, call.state, trial.answer) == (DRY_RUN, "answered", {"category": "x"})
    assert trial.cost_usd == call.cost_usd > 0
    assert Event.objects.values().get(pk=event.pk) == before
    assert get_cost(event) == 0


def test_a_trial_is_never_the_events_own_answer(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: ok")
    attempt(event)
    answer = ask(event)
    assert not answer.reused
    assert fake_llm.calls["e1"] == 2


def test_the_same_request_is_not_paid_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: ok")
    ask(event)
    for step in (DRY_RUN, "backtest:1"):
        trial = attempt(event, step)
        assert trial.is_reused
        assert trial.answer == {"category": "x"}
        assert not trial.cost_usd
    assert fake_llm.calls["e1"] == 1
    assert event.llm_calls.get().reused_count == 2


def test_a_paid_answer_that_does_not_fit_is_told_and_not_asked_again(
    make_case: MakeCase, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema ok")
    assert attempt(event).problem
    assert attempt(event).problem
    assert fake_llm.calls["e1"] == 1


def test_a_refused_trial_is_sent_again_under_its_row(
    make_case: MakeCase, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: 500 ok")
    with pytest.raises(LLMError):
        attempt(event)
    assert attempt(event).answer == {"category": "x"}
    assert LLMCall.objects.get().fence == 2


def test_a_call_of_unknown_outcome_is_sent_again_only_if_a_person_says_so(
    make_case: MakeCase, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: ok")
    call = ledger.open_call(event, prepare_event(event), step=DRY_RUN)
    assert call
    LLMCall.objects.update(owner="gone/1/1")
    ledger.lose(call)
    with pytest.raises(OutcomeUnknown):
        attempt(event)
    assert fake_llm.calls["e1"] == 0
    assert attempt(event, again=True).answer == {"category": "x"}


def test_a_trial_that_a_budget_refuses_is_not_what_the_event_waits_for(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    event = make_case("e1: ok")
    Budget.objects.create(period="day", limit_usd=Decimal("0.000001"))
    with pytest.raises(LLMError) as caught:
        attempt(event)
    assert caught.value.code == "budget_spent"
    assert not BudgetWait.objects.exists()
    assert fake_llm.calls["e1"] == 0


def test_a_trial_that_took_too_long_in_the_background_is_asked_for_by_its_id_first(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_BACKGROUND, settings.LLM_TIMEOUT_S = True, 2
    event = make_case("e1: bg:queued")
    with pytest.raises(StillAtWork):
        attempt(event)
    grow_old(event.llm_calls.get(), settings.LLM_BACKGROUND_TIMEOUT_S)
    with pytest.raises(OutcomeUnknown):
        attempt(event)
    fake_llm.responses["resp_1"].plan = ["ok"]
    assert attempt(event, again=True).answer == {"category": "x"}
    assert (fake_llm.calls["e1"], fake_llm.cancelled) == (1, [])
