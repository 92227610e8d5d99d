"""A budget is never overspent, whoever races, dies or comes late; waiting for one costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import close_old_connections, connection
from django.utils import timezone
from pytest_django import Settings

from apps.events.models import Event
from apps.llm import ledger
from apps.llm.budgets import BudgetSpent, PriceUnknown
from apps.llm.models import Budget, BudgetPeriod, BudgetWait, LLMCall
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.llm.step import call_once
from apps.llm.step_errors import AnswerInvalid
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import OUTPUT_TOKENS, FakeLLM
from tests.llm.conftest import Ask, prepare_event

pytestmark = pytest.mark.django_db(transaction=True)
MakeCase = Callable[[str], Event]
CALL = 20_000  # millionths of a dollar: what a call costs, and the most it can cost


@pytest.fixture(autouse=True)
def price(settings: Settings, triage: Pipeline) -> None:
    """Two cents a call: only output is paid, and the version allows as much as the fake sends."""
    settings.LLM_PRICE_INPUT = 0
    settings.LLM_PRICE_OUTPUT = CALL / OUTPUT_TOKENS
    assert triage.current_version
    version = triage.current_version
    triage.publish(
        prompt=version.prompt,
        model=version.model,
        destination=version.destination,
        output_schema=version.output_schema,
        max_output_tokens=OUTPUT_TOKENS,
    )


def make_budget(calls: int, period: str = "day", **scope: Any) -> Budget:
    """A budget for so many calls."""
    return Budget.objects.create(limit_usd=Decimal(calls * CALL) / 10**6, period=period, **scope)


def get_money(budget: Budget) -> tuple[int, int]:
    """Reserved and spent, in calls."""
    period = budget.periods.get()
    assert period.reserved_micros % CALL == period.spent_micros % CALL == 0
    return period.reserved_micros // CALL, period.spent_micros // CALL


def ask_at_once(events: list[Event], workers: int) -> list[str]:
    """The outcome of each, asked by so many threads that begin together."""
    outcomes: list[str] = []
    waiting = list(events)
    start = threading.Barrier(workers)

    def work() -> None:
        start.wait()
        while waiting:
            try:
                event = waiting.pop()
            except IndexError:
                break
            try:
                call_once(event, event.pipeline_version, prepare_event(event))
                outcomes.append("paid")
            except LLMError as error:
                outcomes.append(error.code)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_200_parallel_calls_against_a_budget_for_50_make_exactly_50(
    helpdesk: Source, triage: Pipeline, fake_llm: FakeLLM
) -> None:
    fake_llm.latency_ms = 5
    everything = make_budget(50)
    others = [make_budget(70, source=helpdesk), make_budget(60, "month", pipeline=triage)]
    events = [
        make_event(helpdesk, f'{{"text": "[[e{number}]]"}}'.encode(), idempotency_key=f"k{number}")
        for number in range(200)
    ]
    for event in events:
        _ = event.body, event.pipeline_version  # read before the race
    close_old_connections()

    outcomes = ask_at_once(events, workers=25)

    assert fake_llm.calls.total() == 50
    assert (outcomes.count("paid"), outcomes.count("budget_spent")) == (50, 150)
    assert [get_money(budget) for budget in (everything, *others)] == [(0, 50)] * 3


def test_a_call_under_way_has_its_price_reserved(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    event = make_case("e1")
    call = ledger.open_call(event, prepare_event(event))
    assert call
    assert get_money(budget) == (1, 0)
    with pytest.raises(BudgetSpent):
        ask(make_case("e2"))


def test_a_refused_call_leaves_nothing_behind(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(0)
    event = make_case("e1")
    with pytest.raises(BudgetSpent, match="all calls, each day"):
        ask(event)
    assert not event.llm_calls.exists()
    assert get_money(budget) == (0, 0)


def test_of_two_budgets_the_one_with_money_gets_it_back(
    make_case: MakeCase, ask: Ask, helpdesk: Source
) -> None:
    rich, poor = make_budget(10), make_budget(0, source=helpdesk)
    with pytest.raises(BudgetSpent, match="source Helpdesk"):
        ask(make_case("e1"))
    assert get_money(rich) == get_money(poor) == (0, 0)


def test_budgets_of_others_do_not_count(make_case: MakeCase, ask: Ask, triage: Pipeline) -> None:
    other = Source.objects.create(slug="other", name="Other", scheme="none", pipeline=triage)
    make_budget(0, source=other)
    assert ask(make_case("e1")).answer


def test_the_real_cost_replaces_the_estimate(
    make_case: MakeCase, ask: Ask, settings: Settings
) -> None:
    settings.LLM_PRICE_INPUT = 100  # the estimate counts a token for each byte
    budget = make_budget(10)
    event = make_case("e1")
    ask(event)
    call = event.llm_calls.get()
    period = budget.periods.get()
    assert (period.reserved_micros, period.spent_micros) == (0, int(call.cost_usd * 10**6))
    assert 0 < period.spent_micros < call.reserved_micros


def test_a_definite_refusal_is_given_back(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    event = make_case("e1: 500 ok")
    with pytest.raises(LLMError):
        ask(event)
    assert get_money(budget) == (0, 0)
    ask(event)
    assert get_money(budget) == (0, 1)


def test_a_paid_answer_that_cannot_be_used_is_spent(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    with pytest.raises(AnswerInvalid):
        ask(make_case("e1: empty"))
    assert get_money(budget) == (0, 1)


def test_an_unknown_outcome_stays_spent_and_asking_again_counts_again(
    make_case: MakeCase, ask: Ask
) -> None:
    budget = make_budget(2)
    event = make_case("e1: reset ok")
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert get_money(budget) == (0, 1)
    event.run += 1  # a person has retried it
    event.save()
    ask(event)
    assert get_money(budget) == (0, 2)


def test_a_killed_workers_reservation_goes_with_its_call(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    event = make_case("e1")
    call = ledger.open_call(event, prepare_event(event))
    assert call
    call.owner, call.intended_at = "elsewhere/1/1", timezone.now() - timedelta(hours=1)
    call.save()
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert get_money(budget) == (0, 1)


def test_an_answer_that_comes_after_all_is_not_counted_twice(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    event = make_case("e1")
    call = ledger.open_call(event, prepare_event(event))
    assert call
    ledger.lose(call)
    assert get_money(budget) == (0, 1)
    ledger.refuse(call)
    assert get_money(budget) == (0, 0)
    ledger.refuse(call)
    ledger.lose(call)
    assert get_money(budget) == (0, 0)


def test_a_new_period_has_its_whole_limit(make_case: MakeCase, ask: Ask) -> None:
    budget = make_budget(1)
    ask(make_case("e1"))
    BudgetPeriod.objects.update(starts_on=timezone.now().date() - timedelta(days=1))
    ask(make_case("e2"))
    assert [period.spent_micros for period in budget.periods.all()] == [CALL, CALL]


def test_a_new_budget_counts_what_its_period_has_cost_already(
    make_case: MakeCase, ask: Ask
) -> None:
    ask(make_case("e1"))
    budget = make_budget(1, "month")
    with pytest.raises(BudgetSpent):
        ask(make_case("e2"))
    assert get_money(budget) == (0, 1)


def test_an_answer_on_record_needs_no_money(make_case: MakeCase, ask: Ask) -> None:
    event = make_case("e1")
    ask(event)
    make_budget(0)
    assert ask(event).reused


def test_a_model_without_a_price_is_held_while_a_budget_applies(
    make_case: MakeCase, ask: Ask, settings: Settings, fake_llm: FakeLLM
) -> None:
    settings.LLM_PRICE_OUTPUT = 0
    settings.OPENAI_BASE_URL = "http://models.example.com/v1"
    make_budget(10)
    event = make_case("e1")
    with pytest.raises(PriceUnknown, match="test-model"):
        ask(event)
    assert not LLMCall.objects.exists()
    assert BudgetWait.objects.get().model == "test-model"


def test_a_model_on_this_machine_is_free(
    make_case: MakeCase, ask: Ask, settings: Settings, fake_llm: FakeLLM
) -> None:
    settings.LLM_PRICE_OUTPUT = 0
    make_budget(0)
    assert ask(make_case("e1")).cost_usd == 0


@pytest.mark.parametrize(
    ("period", "start", "following"),
    [("day", "2026-01-31", "2026-02-01"), ("month", "2026-01-01", "2026-02-01")],
)
def test_days_and_months_begin_at_midnight_utc(period: str, start: str, following: str) -> None:
    budget = Budget(period=period)
    late = datetime.fromisoformat("2026-01-31T23:30:00-00:00")
    assert str(budget.get_start(late)) == start
    assert budget.get_next_start(late) == datetime.fromisoformat(following).replace(tzinfo=UTC)
