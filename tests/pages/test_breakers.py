"""An open circuit breaker is seen on the live page, by probes, scrapers and the API, and closed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.models import StatusSample
from apps.housekeeping import metrics
from apps.housekeeping.tasks import sample_status
from apps.llm import breaker
from apps.llm.lanes import Lane
from apps.llm.provider import ProviderFailed
from apps.streams.clients import get_client
from tests.api.clients import assert_problem, with_token
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db
LANE = Lane("api.example.com", "org/large<1>")
DOOR = f"/live/breakers/{LANE.id}/close/"


@pytest.fixture(autouse=True)
def _open(settings: Any, valkey_url: str, fake_llm: FakeLLM) -> None:
    settings.QUEUE_URLS = [valkey_url]
    get_client(valkey_url).flushall()
    for _ in range(5):
        breaker.Passage(LANE).settle(ProviderFailed(), Decimal(0))


def test_the_live_page_names_it_and_an_admin_closes_it(sign_in: Browse, alice: User) -> None:
    sample_status()
    client = sign_in(alice)
    html = text_of(client.get("/live/parts/"))
    assert "org/large&lt;1&gt;" in html
    assert "api.example.com" in html
    assert f'action="{DOOR}"' in html
    assert b"is asked again" in client.post(DOOR, follow=True).content
    assert breaker.find_open() == []
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.object_id) == (alice, "breaker.close", str(LANE))
    assert b"closed already" in client.post(DOOR, follow=True).content


def test_support_sees_it_and_has_no_button(sign_in: Browse, bob: User) -> None:
    sample_status()
    client = sign_in(bob)
    html = text_of(client.get("/live/parts/"))
    assert "org/large" in html
    assert DOOR not in html
    assert client.post(DOOR).status_code == 403
    assert len(breaker.find_open()) == 1


def test_a_queue_that_is_down_is_said(sign_in: Browse, alice: User, settings: Any) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1/0"]
    answer = sign_in(alice).post(DOOR, follow=True)
    assert b"Try again when the queue is back" in answer.content


def test_readyz_stays_ready_and_says_it(client: Client) -> None:
    answer = client.get("/readyz")
    part = answer.json()["parts"]["llm"]
    assert answer.status_code == 200
    assert part["ok"]
    assert "org/large<1> at api.example.com is open since" in part["why"]


def test_a_scrape_shows_it() -> None:
    sample_status()
    shown = [
        sample.labels
        for metric in metrics.FiguresCollector().collect()
        for sample in metric.samples
        if metric.name == "pipeline_llm_breaker_open"
    ]
    assert shown == [{"provider": "api.example.com", "model": "org/large<1>"}]


def test_the_api_lists_and_closes_it(alice: User) -> None:
    client = with_token(alice)
    (found,) = client.get("/api/v1/breakers/").json()
    assert found["id"] == LANE.id
    assert found["code"] == "llm_provider_failed"
    assert client.post(f"/api/v1/breakers/{LANE.id}/close/").status_code == 204
    assert client.get("/api/v1/breakers/").json() == []
    assert AuditEntry.objects.get().details["token"]
    assert_problem(client.post(f"/api/v1/breakers/{LANE.id}/close/"), 404)


def test_the_api_says_when_nobody_knows(alice: User, settings: Any) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1/0"]
    assert_problem(with_token(alice).get("/api/v1/breakers/"), 503)


def test_a_sample_is_made_without_the_queue(settings: Any) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1/0"]
    sample_status()
    assert StatusSample.objects.get().breakers == []
