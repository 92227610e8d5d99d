"""Budgets on pages: made, raised, warned of, and who waits for them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Event, Status, Step
from apps.llm.models import Budget, BudgetPeriod, BudgetWait
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db
LIST = "/llm/budget/"
FORM = {"period": "day", "limit_usd": "5", "source": "", "pipeline": ""}


@pytest.fixture(autouse=True)
def no_workflows(settings: Settings) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:1"


def make_budget(limit: str = "5", spent: str = "0", **fields: Any) -> Budget:
    budget = Budget.objects.create(**{"period": "day", "limit_usd": Decimal(limit)} | fields)
    BudgetPeriod.objects.filter(budget=budget).update(spent_micros=int(Decimal(spent) * 10**6))
    return budget


def hold(source: Source, budget: Budget, needs: str = "1") -> Event:
    event = make_event(
        source, status=Status.HELD, step=Step.LLM, error_code="budget_spent", error="No money."
    )
    needs_micros = int(Decimal(needs) * 10**6)
    BudgetWait.objects.create(event=event, budget=budget, needs_micros=needs_micros)
    return event


def test_alice_makes_a_budget(sign_in: Browse, alice: User) -> None:
    answer = sign_in(alice).post(f"{LIST}add/", FORM)
    assert answer.status_code == 302
    budget = Budget.objects.get()
    assert (str(budget.limit_usd), budget.scope) == ("5.000000", "all calls")
    assert AuditEntry.objects.get(action="budget.create").object_id == str(budget.pk)


def test_a_second_one_for_the_same_is_refused_in_words(sign_in: Browse, alice: User) -> None:
    make_budget()
    html = text_of(sign_in(alice).post(f"{LIST}add/", FORM))
    assert "There is a budget for all calls of this period." in html


def test_source_and_pipeline_together_are_refused(
    sign_in: Browse, alice: User, helpdesk: Source
) -> None:
    form = FORM | {"source": helpdesk.pk, "pipeline": helpdesk.pipeline_id}
    assert "not both" in text_of(sign_in(alice).post(f"{LIST}add/", form))


def test_the_list_shows_how_much_is_used(sign_in: Browse, vera: User, helpdesk: Source) -> None:
    budget = make_budget(spent="4.5", source=helpdesk)
    hold(helpdesk, budget)
    html = text_of(sign_in(vera).get(LIST))
    assert "Source Helpdesk" in html
    assert 'value="90"' in html
    assert "$4.50 of $5.00" in html
    assert "1 event</a>" in html
    assert "00:00 UTC" in html


def test_an_empty_list_says_what_a_budget_is_for(sign_in: Browse, alice: User) -> None:
    html = text_of(sign_in(alice).get(LIST))
    assert "There is no budget" in html
    assert "Add a budget</a>" in html


@pytest.mark.parametrize("name", ["vera", "bob"])
def test_only_an_administrator_changes_budgets(
    sign_in: Browse, name: str, request: pytest.FixtureRequest
) -> None:
    client = sign_in(request.getfixturevalue(name))
    budget = make_budget()
    assert client.post(f"{LIST}add/", FORM).status_code == 403
    assert client.post(f"{LIST}{budget.pk}/change/", {"limit_usd": "9"}).status_code == 403
    assert client.post(f"{LIST}{budget.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_raised_limit_lets_events_go_on_at_once(
    sign_in: Browse, alice: User, helpdesk: Source
) -> None:
    budget = make_budget(spent="5")
    event = hold(helpdesk, budget)
    sign_in(alice).post(f"{LIST}{budget.pk}/change/", {"limit_usd": "6"})
    event.refresh_from_db()
    assert (event.status, event.run) == (Status.RUNNING, 1)


@pytest.mark.django_db(transaction=True)
def test_a_deleted_budget_lets_events_go_on_at_once(
    sign_in: Browse, alice: User, helpdesk: Source
) -> None:
    event = hold(helpdesk, budget := make_budget(spent="5"))
    sign_in(alice).post(f"{LIST}{budget.pk}/delete/", {"post": "yes"})
    event.refresh_from_db()
    assert event.status == Status.RUNNING


def test_what_a_budget_counts_cannot_be_changed(
    sign_in: Browse, alice: User, helpdesk: Source
) -> None:
    budget = make_budget()
    form = {"limit_usd": "7", "period": "month", "source": helpdesk.pk}
    sign_in(alice).post(f"{LIST}{budget.pk}/change/", form)
    budget.refresh_from_db()
    assert budget.limit_usd == Decimal(7)
    assert (budget.period, budget.source) == ("day", None)


@pytest.mark.parametrize(
    ("spent", "words"),
    [("3.9", None), ("4", "80 % of the budget of all calls, each day, is used"), ("5", "is spent")],
)
def test_the_live_page_warns_from_80_percent_on(
    sign_in: Browse, vera: User, spent: str, words: str | None
) -> None:
    make_budget(spent=spent)
    html = text_of(sign_in(vera).get("/live/figures/"))
    assert (words in html) if words else ("budget" not in html)


def test_held_events_are_told_apart_by_their_budget(
    sign_in: Browse, bob: User, helpdesk: Source
) -> None:
    budget = make_budget(spent="5")
    hold(helpdesk, budget)
    hold(helpdesk, budget)
    html = text_of(sign_in(bob).get("/dead-letters/?status=held"))
    assert "2 wait for the budget of all calls, each day." in html
    assert "go on by themselves" in html
    assert "Raise the limit" not in html


def test_the_event_says_that_nobody_needs_to_do_anything(
    sign_in: Browse, bob: User, helpdesk: Source
) -> None:
    event = hold(helpdesk, make_budget(spent="5"))
    html = text_of(sign_in(bob).get(f"/events/{event.public_id}/"))
    assert "It is tried now instead of by itself later" in html
    assert "Held: waits for a budget" in html
