"""Backtests by script."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.backtests.runner import run_due
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/backtests/"
ASKED: dict[str, Any] = {"pipeline": "triage", "token": "v1", "count": 10, "cap_usd": "1"}


@pytest.fixture
def client(alice: User, helpdesk: Source, fake_llm: FakeLLM, settings: Settings) -> APIClient:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    raw = b'{"text": "hello [[b1: ok]]", "label": "x"}'
    make_event(helpdesk, raw, status="delivered", answer={"category": "old"})
    return with_token(alice)


def test_from_the_estimate_to_the_rows(client: APIClient) -> None:
    asked = {"pipeline": "triage", "count": 10}
    expected = client.post(f"{PATH}estimate/", asked, format="json").json()
    assert (expected["token"], expected["calls"]) == ("v1", 1)
    paths = {"label_path": "label", "answer_path": "category"}
    started = client.post(PATH, ASKED | paths, format="json")
    assert started.status_code == 201
    one = f"{PATH}{started.json()['id']}/"
    assert client.get(one).json()["state"] == "running"
    run_due()
    found = client.get(one).json()
    assert (found["state"], found["totals"]["right"]) == ("done", 1)
    assert Decimal(found["totals"]["cost_usd"]) <= Decimal(expected["most_usd"])
    (row,) = client.get(f"{one}rows/", {"from": "1"}).json()
    assert (row["old_answer"], row["answer"]) == ({"category": "old"}, {"category": "x"})
    assert row["changed"] == ["category"]
    assert client.get(PATH).json()["results"][0]["id"] == found["id"]


def test_it_is_cancelled_and_gone_on_with(client: APIClient) -> None:
    one = f"{PATH}{client.post(PATH, ASKED, format='json').json()['id']}/"
    assert client.post(f"{one}cancel/").json()["state"] == "cancelled"
    assert_problem(client.post(f"{one}cancel/"), 409)
    assert_problem(client.post(f"{one}resume/", {}, format="json"), 400)
    found = client.post(f"{one}resume/", {"cap_usd": "2"}, format="json").json()
    assert (found["state"], found["cap_usd"]) == ("running", "2.000000")


def test_what_cannot_be_started_is_refused(client: APIClient, settings: Settings) -> None:
    assert_problem(client.post(PATH, ASKED | {"token": "old"}, format="json"), 409)
    wrong = client.post(PATH, ASKED | {"label_path": "a["}, format="json")
    assert "label_path" in assert_problem(wrong, 400)["errors"]
    assert_problem(client.post(PATH, ASKED | {"count": 501}, format="json"), 400)
    settings.LLM_PRICE_INPUT = settings.LLM_PRICE_OUTPUT = 0
    settings.OPENAI_BASE_URL = "https://models.example.com/v1"
    assert_problem(client.post(PATH, ASKED, format="json"), 409, "no known price")


def test_it_needs_both_scopes_and_an_administrator(
    client: APIClient, alice: User, bob: User
) -> None:
    for user, scopes in ((alice, ["config:write"]), (alice, ["events:read"]), (bob, ["all"])):
        asker = with_token(user, *scopes)
        assert_problem(asker.post(PATH, ASKED, format="json"), 403)
