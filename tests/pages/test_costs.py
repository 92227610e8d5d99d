"""The page of costs, and its table for spreadsheets."""

from __future__ import annotations

import csv
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.llm.cost_pages import make_safe
from apps.llm.costs import to_hour
from apps.llm.models import CostHour
from apps.llm.templatetags.money import usd
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db


def add_hour(source: Source, cost: str, days_ago: int = 0, **fields: Any) -> CostHour:
    numbers: dict[str, Any] = {"calls": 4, "events": 2, "input_tokens": 1000} | fields
    return CostHour.objects.create(
        hour=to_hour(timezone.now() - timedelta(days=days_ago)),
        source=source,
        pipeline=source.pipeline,
        model=numbers.pop("model", "gpt-4o-mini"),
        cost_usd=Decimal(cost),
        **numbers,
    )


def test_it_shows_totals_and_what_the_money_went_for(
    sign_in: Browse, vera: User, helpdesk: Source
) -> None:
    add_hour(helpdesk, "3", reused=2, saved_usd=Decimal("0.5"))
    add_hour(helpdesk, "40", days_ago=10)
    html = text_of(sign_in(vera).get("/costs/?period=7d"))
    assert ">$3.00</p>" in html
    assert ">$1.50</p>" in html
    assert ">$0.50</p>" in html
    assert ">Helpdesk</td>" in html
    assert ">Triage</td>" in html
    assert '>gpt-4o-mini<span class="pa-hint"> at settings</span></td>' in html
    assert "Days are UTC" in html
    assert html.count("<rect ") == 7
    assert ">$43.00</p>" in text_of(sign_in(vera).get("/costs/"))


def test_without_a_call_it_says_so(sign_in: Browse, vera: User) -> None:
    html = text_of(sign_in(vera).get("/costs/?period=month"))
    assert "No call was made in this time" in html
    assert "<rect " not in html


def test_a_stranger_sees_nothing(sign_in: Browse, charlie: User) -> None:
    client = sign_in(charlie)
    assert client.get("/costs/").status_code in (302, 403)
    assert client.get("/costs/export/").status_code in (302, 403)


def test_the_table_for_spreadsheets_runs_no_formula(
    sign_in: Browse, vera: User, helpdesk: Source
) -> None:
    helpdesk.name = '=HYPERLINK("http://evil.example.com")'
    helpdesk.save()
    add_hour(helpdesk, "3.000001", model="@SUM(1)")
    answer = sign_in(vera).get("/costs/export/?period=7d")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="costs-7d.csv"'
    head, line = csv.reader(answer.content.decode("utf-8-sig").splitlines())
    assert head[:5] == ["day (UTC)", "source", "pipeline", "model", "provider"]
    name = '\'=HYPERLINK("http://evil.example.com")'
    assert line[1:5] == [name, "Triage", "'@SUM(1)", "settings"]
    assert line[head.index("cost_usd")] == "3.000001"
    assert answer.content.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_what_looks_like_a_formula_becomes_text(start: str) -> None:
    assert make_safe(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("1234.5", "$1,234.50"),
        ("0.25", "$0.25"),
        ("0.0123", "$0.0123"),
        ("0.000031", "$0.000031"),
        (None, "–"),
    ],
)
def test_small_amounts_keep_their_digits(amount: str | None, text: str) -> None:
    assert usd(None if amount is None else Decimal(amount)) == text


def test_the_api_tells_the_same(vera: User, helpdesk: Source) -> None:
    add_hour(helpdesk, "3")
    client = with_token(vera, "events:read")
    costs = client.get("/api/v1/costs/?period=7d").json()
    assert costs["total"]["cost_usd"] == "3.000000"
    assert costs["total"]["per_event_usd"] == "1.500000"
    assert [row["slug"] for row in costs["sources"]] == ["helpdesk"]
    assert [row["provider"] for row in costs["models"]] == ["settings"]
    assert "provider" not in costs["sources"][0]
    assert len(costs["days"]) == 7
    assert_problem(client.get("/api/v1/costs/?period=1y"), 400)
    assert_problem(with_token(vera, "config:read").get("/api/v1/costs/"), 403)
