"""Budgets by the API: the same rules as on the page."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Status
from apps.llm.models import Budget, BudgetPeriod, BudgetWait
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event

pytestmark = pytest.mark.django_db
URL = "/api/v1/budgets/"


@pytest.fixture
def budget(helpdesk: Source) -> Budget:
    return Budget.objects.create(period="day", limit_usd=Decimal(2), source=helpdesk)


def test_a_budget_is_made_and_tells_its_usage(alice: User, helpdesk: Source) -> None:
    answer = with_token(alice).post(
        URL, {"period": "month", "limit_usd": "5", "source": "helpdesk"}
    )
    assert answer.status_code == 201
    made = answer.json()
    assert (made["limit_usd"], made["source"], made["pipeline"]) == ("5.000000", "helpdesk", None)
    usage = made["usage"]
    assert (usage["spent_usd"], usage["percent"], usage["waiting"]) == ("0.000000", 0, 0)
    assert usage["next_start"].endswith("-01T00:00:00Z")
    assert AuditEntry.objects.get().action == "budget.create"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"limit_usd": "1", "period": "day", "source": "helpdesk"}, "has a budget"),
        ({"limit_usd": "1", "source": "helpdesk", "pipeline": "triage"}, "not both"),
        ({"limit_usd": "-1"}, "greater than or equal to 0"),
        ({"limit_usd": "1", "source": "nobody"}, "does not exist"),
        ({"limit_usd": "1", "periode": "day"}, "Unknown field"),
    ],
)
def test_a_wrong_budget_is_refused(
    alice: User, budget: Budget, body: dict[str, str], words: str
) -> None:
    answer = with_token(alice).post(URL, body)
    assert_problem(answer, 400)
    assert words in answer.content.decode()


def test_what_it_counts_stays(alice: User, budget: Budget) -> None:
    client = with_token(alice)
    answer = client.patch(f"{URL}{budget.pk}/", {"period": "month"})
    assert "make a new one" in str(assert_problem(answer, 400)["errors"]["period"])
    assert client.patch(f"{URL}{budget.pk}/", {"period": "day"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_raised_limit_lets_events_go_on_at_once(
    alice: User, budget: Budget, settings: Settings
) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:1"
    assert budget.source
    BudgetPeriod.objects.update(spent_micros=2_000_000)
    event = make_event(budget.source, status=Status.HELD, error_code="budget_spent")
    BudgetWait.objects.create(event=event, budget=budget, needs_micros=1_000_000)
    client = with_token(alice)
    assert client.get(f"{URL}{budget.pk}/").json()["usage"]["waiting"] == 1
    answer = client.patch(f"{URL}{budget.pk}/", {"limit_usd": "3"})
    assert answer.json()["usage"]["waiting"] == 0
    event.refresh_from_db()
    assert event.status == Status.RUNNING


def test_it_is_listed_and_deleted(alice: User, budget: Budget) -> None:
    client = with_token(alice)
    assert [row["id"] for row in client.get(URL).json()["results"]] == [budget.pk]
    assert client.delete(f"{URL}{budget.pk}/").status_code == 204
    assert not Budget.objects.exists()


def test_who_views_may_not_change(vera: User, budget: Budget) -> None:
    client = with_token(vera)
    assert client.get(URL).status_code == 200
    for answer in (
        client.post(URL, {"limit_usd": "1"}),
        client.patch(f"{URL}{budget.pk}/", {"limit_usd": "1"}),
        client.delete(f"{URL}{budget.pk}/"),
    ):
        assert_problem(answer, 403)
