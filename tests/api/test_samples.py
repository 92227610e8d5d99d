"""Samples by script: kept, tried, backtested, removed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.backtests.runner import run_due
from apps.events.models import Event
from apps.pipelines.models import Pipeline, Sample
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/pipelines/triage/"
BODY = {"text": "hello [[s1: ok]]"}


@pytest.fixture
def client(alice: User, triage: Pipeline, fake_llm: FakeLLM, settings: Any) -> APIClient:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    return with_token(alice)


def post(client: APIClient, path: str, **asked: Any) -> Any:
    return client.post(f"{PATH}{path}/", asked, format="json")


def test_a_ready_pipeline_brings_its_own(client: APIClient) -> None:
    asked = {"slug": "routing", "name": "Routing", "destination": "inbox"}
    client.post("/api/v1/pipelines/ready/ticket-routing/", asked, format="json")
    found = client.get("/api/v1/pipelines/routing/samples/").json()
    assert len(found) == 20
    assert (found[0]["name"], found[0]["origin"]) == ("Charged twice", "ready")
    assert found[-1]["expected"] == {"team": "sales"}


def test_one_is_kept_tried_and_removed(client: APIClient, fake_llm: FakeLLM) -> None:
    made = post(client, "samples", body=BODY, expected={"category": "y"})
    assert made.status_code == 201
    sample = made.json()["id"]
    run = post(client, "dry-run", token="v1", sample=sample).json()
    assert (run["answer"], run["expected"]) == ({"category": "x"}, {"category": "y"})
    assert (run["is_right"], run["reused"]) == (False, False)
    assert client.delete(f"{PATH}samples/{sample}/").status_code == 204
    assert_problem(client.delete(f"{PATH}samples/{sample}/"), 404)
    assert_problem(post(client, "dry-run", token="v1", sample=sample), 404)
    assert not Event.objects.exists()


def test_a_body_is_tried_once_without_being_kept(client: APIClient, fake_llm: FakeLLM) -> None:
    assert not post(client, "dry-run", token="v1", body=BODY).json()["reused"]
    assert post(client, "dry-run", token="v1", body=BODY).json()["reused"]
    assert fake_llm.calls["s1"] == 1
    assert client.get(f"{PATH}samples/").json() == []


def test_what_it_is_run_on_is_said_once(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    assert_problem(post(client, "dry-run", token="v1"), 400)
    assert_problem(post(client, "dry-run", token="v1", body=BODY, event=event.public_id), 400)
    assert_problem(post(client, "dry-run", token="v1", sample=event.public_id), 404)
    assert_problem(post(client, "samples"), 400)


def test_an_event_is_copied(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    made = post(client, "samples", event=event.public_id, name="The one").json()
    assert (made["name"], made["origin"]) == ("The one", "event")
    assert_problem(post(client, "samples", event="evt_1"), 409)


def test_a_backtest_runs_on_the_labelled_ones(client: APIClient, fake_llm: FakeLLM) -> None:
    post(client, "samples", body=BODY, expected={"category": "x"})
    post(client, "samples", body={"text": "[[s2: ok]]"})
    asked = {"pipeline": "triage", "on": "labelled"}
    path = "/api/v1/backtests/"
    assert client.post(f"{path}estimate/", asked, format="json").json()["calls"] == 1
    asked |= {"token": "v1", "cap_usd": "1"}
    started = client.post(path, asked, format="json").json()
    run_due()
    totals = client.get(f"{path}{started['id']}/").json()["totals"]
    assert (totals["rows"], totals["labelled"], totals["right"]) == (1, 1, 1)
    (row,) = client.get(f"{path}{started['id']}/rows/").json()
    labelled = Sample.objects.get(expected__isnull=False)
    assert (row["event"], row["sample"]) == (None, labelled.public_id)
    assert_problem(client.post(path, asked | {"on": "events"}, format="json"), 400)


def test_support_staff_may_not(bob: User, triage: Pipeline) -> None:
    assert_problem(with_token(bob).get(f"{PATH}samples/"), 403)
