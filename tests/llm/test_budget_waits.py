"""Events that wait for a budget go on by themselves: oldest first, as far as the money reaches."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from apps.audit.models import AuditEntry
from apps.events.models import Event, Status, Step
from apps.events.recording import Try, record_failure
from apps.llm import ledger
from apps.llm.budget_usage import get_usages
from apps.llm.budget_watch import choose, let_go_on, settle_abandoned, warn
from apps.llm.budgets import BudgetSpent, PriceUnknown, plan
from apps.llm.models import Budget, BudgetPeriod, BudgetWait
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.llm.conftest import prepare_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def price(settings: Settings) -> None:
    settings.LLM_PRICE_OUTPUT = 1000
    settings.TEMPORAL_ADDRESS = "127.0.0.1:1"  # the database decides; nobody carries the events


def make_budget(calls: int, **fields: Any) -> Budget:
    """A budget for so many calls of half a dollar."""
    fields = {"period": "day", "limit_usd": Decimal(calls) / 2} | fields
    return Budget.objects.create(**fields)


def hold(source: Source, number: int = 0) -> Event:
    """An event that has found the budget spent."""
    event = make_event(source, idempotency_key=f"{source.slug}-{number}")
    received_at = timezone.now() - timedelta(hours=1) + timedelta(seconds=number)
    Event.objects.filter(pk=event.pk).update(received_at=received_at)
    with pytest.raises((BudgetSpent, PriceUnknown)) as refused:
        ledger.open_call(event, prepare_event(event))
    record_failure(event, Try(Step.LLM, 1, timezone.now()), refused.value)
    event.refresh_from_db()
    assert event.status == Status.HELD
    return event


def raise_limit(budget: Budget, calls: int) -> None:
    budget.limit_usd = Decimal(calls) / 2
    budget.save()


def get_status(event: Event) -> tuple[str, int]:
    event.refresh_from_db()
    return event.status, event.run


def test_an_event_is_held_while_nothing_is_left(helpdesk: Source) -> None:
    make_budget(0)
    event = hold(helpdesk)
    assert (event.error_code, event.step) == ("budget_spent", "llm")
    assert "all calls, each day" in event.error
    assert let_go_on() == 0


def test_a_raised_limit_lets_the_oldest_go_on_in_their_run(helpdesk: Source) -> None:
    budget = make_budget(0)
    young, old, middle = (hold(helpdesk, number) for number in (3, 1, 2))
    raise_limit(budget, 2)
    assert let_go_on() == 2
    assert get_status(old) == get_status(middle) == ("running", 1)
    assert get_status(young) == ("held", 1)


def test_those_that_go_on_have_the_first_claim(helpdesk: Source) -> None:
    budget = make_budget(0)
    hold(helpdesk, 1)
    hold(helpdesk, 2)
    raise_limit(budget, 1)
    assert let_go_on() == 1
    assert let_go_on() == 0


def test_a_reservation_ends_the_wait(helpdesk: Source) -> None:
    budget = make_budget(0)
    event = hold(helpdesk)
    raise_limit(budget, 1)
    let_go_on()
    assert ledger.open_call(event, prepare_event(event))
    assert not BudgetWait.objects.exists()


def test_a_new_day_lets_them_go_on(helpdesk: Source) -> None:
    budget = make_budget(1)
    BudgetPeriod.objects.update(spent_micros=budget.limit_micros)
    event = hold(helpdesk)
    BudgetPeriod.objects.update(starts_on=timezone.now().date() - timedelta(days=1))
    assert let_go_on() == 1
    assert get_status(event) == ("running", 1)


def test_a_deleted_budget_lets_them_go_on(helpdesk: Source) -> None:
    budget = make_budget(0)
    event = hold(helpdesk)
    budget.delete()
    assert let_go_on() == 1
    assert get_status(event)[0] == "running"


def test_a_spent_budget_holds_only_what_it_applies_to(helpdesk: Source, triage: Pipeline) -> None:
    other = Source.objects.create(slug="other", name="Other", scheme="none", pipeline=triage)
    make_budget(0, source=helpdesk)
    budget = make_budget(0, source=other)
    hold(helpdesk, 1)
    event = hold(other, 2)
    raise_limit(budget, 1)
    assert choose(10) == [event]


def test_an_event_too_dear_for_the_whole_budget_keeps_nobody_waiting(
    helpdesk: Source, triage: Pipeline
) -> None:
    budget = make_budget(0)
    dear = hold(helpdesk, 1)
    BudgetWait.objects.filter(event=dear).update(needs_micros=10**9)
    event = hold(helpdesk, 2)
    raise_limit(budget, 1)
    assert choose(10) == [event]


def test_an_older_event_is_not_overtaken_by_a_cheaper_one(helpdesk: Source) -> None:
    budget = make_budget(1)
    BudgetPeriod.objects.update(spent_micros=budget.limit_micros)
    dear, cheap = hold(helpdesk, 1), hold(helpdesk, 2)
    BudgetWait.objects.filter(event=cheap).update(needs_micros=1)
    BudgetPeriod.objects.update(spent_micros=budget.limit_micros - 1)
    assert choose(10) == []
    BudgetPeriod.objects.update(spent_micros=0)
    assert choose(10) == [dear]


def test_what_a_person_must_decide_stays_held(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.HELD, error_code="llm_outcome_unknown")
    assert let_go_on() == 0
    assert get_status(event) == ("held", 1)


def test_a_price_lets_them_go_on(helpdesk: Source, settings: Settings) -> None:
    settings.LLM_PRICE_OUTPUT = 0
    settings.OPENAI_BASE_URL = "http://models.example.com/v1"
    make_budget(10)
    event = hold(helpdesk)
    assert event.error_code == "budget_no_price"
    assert let_go_on() == 0
    settings.LLM_PRICE_OUTPUT = 1000
    assert let_go_on() == 1


def test_it_warns_once_at_80_percent_and_once_when_events_wait(helpdesk: Source) -> None:
    budget = make_budget(10)
    period = BudgetPeriod.objects.filter(budget=budget)
    period.update(spent_micros=int(budget.limit_micros * 0.79))
    warn()
    assert not AuditEntry.objects.exists()
    period.update(spent_micros=int(budget.limit_micros * 0.5), reserved_micros=2_000_000)
    for _ in range(2):
        warn()
    assert [entry.action for entry in AuditEntry.objects.all()] == ["budget.alert"]
    period.update(spent_micros=budget.limit_micros)
    hold(helpdesk)
    for _ in range(2):
        warn()
    spent = AuditEntry.objects.get(action="budget.spent")
    assert (spent.actor_name, spent.object_id) == ("system", str(budget.pk))


def test_the_usage_tells_who_waits(helpdesk: Source) -> None:
    make_budget(0, period="month")
    hold(helpdesk, 1)
    hold(helpdesk, 2)
    (usage,) = get_usages()
    assert (usage.waiting, usage.tone, usage.percent) == (2, "danger", 100)


def test_a_call_whose_event_was_discarded_is_spent_in_the_end(helpdesk: Source) -> None:
    budget = make_budget(1)
    event = make_event(helpdesk)
    call = ledger.open_call(event, prepare_event(event))
    assert call
    needs = plan(event, prepare_event(event).body).micros
    call.owner, call.intended_at = "elsewhere/1/1", timezone.now() - timedelta(hours=3)
    call.save()
    assert settle_abandoned() == 1
    period = budget.periods.get()
    assert (period.reserved_micros, period.spent_micros) == (0, needs)
