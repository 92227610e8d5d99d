"""The draft on one event: paid once, shown beside the event's answer, nothing delivered."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Event
from apps.llm.models import LLMCall
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(sign_in: Browse, alice: User, fake_llm: FakeLLM, settings: Settings) -> Client:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    return sign_in(alice)


def make(source: Source, plan: str = "ok") -> Event:
    raw = f'{{"text": "hello [[d1: {plan}]]"}}'.encode()
    return make_event(source, raw, status="delivered", answer={"category": "<old>"})


def at(event: Event) -> str:
    pipeline = event.source.pipeline_id
    return f"/pipelines/pipeline/{pipeline}/draft/dry-run/?event={event.public_id}"


def words(response: Any) -> str:
    return html.unescape(text_of(response))


def test_the_cost_is_said_before_anything_is_asked(
    client: Client, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    page = words(client.get(at(make(helpdesk))))
    assert "test-model is asked once" in page
    assert "for at most $0.001" in page
    assert not LLMCall.objects.exists()


def test_it_is_paid_once_and_touches_nothing_of_the_event(
    client: Client, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    event = make(helpdesk)
    before = Event.objects.values().get(pk=event.pk)
    act = {"token": helpdesk.pipeline.get_draft().token}
    page = text_of(client.post(at(event), act))
    call = LLMCall.objects.get()
    assert call.step == "dry-run"
    assert f"paid ${call.cost_usd}" in page
    assert "&lt;old&gt;" in page
    assert "&quot;category&quot;: &quot;x&quot;" in page
    assert "nothing paid" in words(client.post(at(event), act))
    assert fake_llm.calls["d1"] == 1
    assert Event.objects.values().get(pk=event.pk) == before
    assert AuditEntry.objects.filter(action="draft.dry_run").count() == 2


def test_a_draft_that_changed_meanwhile_is_not_run(
    client: Client, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    page = words(client.post(at(make(helpdesk)), {"token": "old"}))
    assert "nothing was asked" in page
    assert not LLMCall.objects.exists()


@pytest.mark.parametrize(
    ("plan", "said"), [("500", "refused the request"), ("wrong-schema", "does not fit the schema")]
)
def test_what_went_wrong_is_told(
    client: Client, helpdesk: Source, fake_llm: FakeLLM, plan: str, said: str
) -> None:
    event = make(helpdesk, plan)
    page = words(client.post(at(event), {"token": helpdesk.pipeline.get_draft().token}))
    assert said in page


def test_an_event_that_the_filter_leaves_out_costs_nothing(
    client: Client, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    pipeline = helpdesk.pipeline
    config = pipeline.get_draft().config | {"filter": "text == 'other'"}
    draft = pipeline.save_draft(None, "v1", config)
    event = make(helpdesk)
    assert "There is nothing to ask." in words(client.get(at(event)))
    assert "leaves this event out" in words(client.post(at(event), {"token": draft.token}))
    assert not LLMCall.objects.exists()


def test_only_who_may_edit_may_pay(sign_in: Browse, bob: User, helpdesk: Source) -> None:
    assert sign_in(bob).post(at(make(helpdesk))).status_code == 403
