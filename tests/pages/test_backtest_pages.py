"""Backtests in the browser: estimated, started, watched, cancelled, gone on with."""

from __future__ import annotations

import html
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.backtests.models import Backtest
from apps.backtests.runner import run_due
from apps.llm.models import LLMCall
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db(transaction=True)
FORM = {
    "on": "events",
    "count": "10",
    "cap_usd": "1",
    "label_path": "label",
    "answer_path": "category",
}


@pytest.fixture
def client(sign_in: Browse, alice: User, fake_llm: FakeLLM, settings: Settings) -> Client:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    return sign_in(alice)


def at(source: Source) -> str:
    return f"/pipelines/pipeline/{source.pipeline_id}/backtests/"


def words(response: Any) -> str:
    return html.unescape(text_of(response))


def add_event(source: Source, plan: str = "b1: ok") -> None:
    raw = f'{{"text": "hello [[{plan}]]", "label": "<x>"}}'.encode()
    make_event(source, raw, status="delivered", answer={"category": "<old>"})


def start(client: Client, source: Source, **fields: str) -> Backtest:
    token = source.pipeline.get_draft().token
    client.post(at(source), FORM | {"token": token, "start": "1"} | fields)
    return Backtest.objects.get()


def test_the_cost_is_said_first_and_nothing_is_started(client: Client, helpdesk: Source) -> None:
    add_event(helpdesk)
    page = words(client.post(at(helpdesk), FORM))
    assert "1 event: 1 paid call, at most $0.00" in page
    assert "Start, up to the cap" in page
    assert not Backtest.objects.exists()
    assert not LLMCall.objects.exists()


def test_from_start_to_done_and_publish(client: Client, helpdesk: Source) -> None:
    add_event(helpdesk)
    pipeline = helpdesk.pipeline
    config = pipeline.get_draft().config | {"prompt": "Sort: {{ text }}"}
    pipeline.save_draft(None, "v1", config)
    backtest = start(client, helpdesk)
    page = text_of(client.get(f"/backtests/{backtest.pk}/"))
    assert "0 of 1 events" in page
    assert 'hx-trigger="every 2s"' in page
    run_due()
    page = text_of(client.get(f"/backtests/{backtest.pk}/"))
    assert "1 of 1 events" in page
    assert "hx-trigger" not in page.partition('id="backtest"')[2].partition(">")[0]
    assert "&lt;old&gt;" in page
    assert "<old>" not in page
    assert "now 0 of 1, the draft 0 of 1" in page
    assert f"/pipelines/pipeline/{pipeline.pk}/draft/publish/" in page
    assert AuditEntry.objects.get(action="backtest.start").details["events"] == 1
    pipeline.save_draft(None, pipeline.get_draft().token, config | {"prompt": "Other: {{ text }}"})
    assert "can’t be published from here" in words(client.get(f"/backtests/{backtest.pk}/"))


def test_it_is_cancelled_and_gone_on_with(client: Client, helpdesk: Source) -> None:
    add_event(helpdesk)
    backtest = start(client, helpdesk)
    page = words(client.post(f"/backtests/{backtest.pk}/cancel/", follow=True))
    assert "no further call is made" in page
    assert "Go on" in page
    client.post(f"/backtests/{backtest.pk}/resume/", {"cap_usd": "x"})
    backtest.refresh_from_db()
    assert backtest.state == "cancelled"
    client.post(f"/backtests/{backtest.pk}/resume/", {"cap_usd": "2"})
    run_due()
    backtest.refresh_from_db()
    assert (backtest.state, backtest.cap_usd) == ("done", Decimal(2))


def test_a_draft_that_changed_meanwhile_is_not_started(client: Client, helpdesk: Source) -> None:
    add_event(helpdesk)
    page = words(client.post(at(helpdesk), FORM | {"token": "old", "start": "1"}))
    assert "nothing was started" in page
    assert not Backtest.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"count": "501"}, "500"), ({"cap_usd": "0"}, "0.000001"), ({"label_path": "a["}, "JMESPath")],
)
def test_what_is_wrong_is_told(
    client: Client, helpdesk: Source, wrong: dict[str, str], said: str
) -> None:
    add_event(helpdesk)
    page = words(client.post(at(helpdesk), FORM | wrong | {"start": "1", "token": "v1"}))
    assert said in page
    assert not Backtest.objects.exists()


def test_without_a_price_there_is_no_start(
    client: Client, helpdesk: Source, settings: Settings
) -> None:
    settings.LLM_PRICE_INPUT = settings.LLM_PRICE_OUTPUT = 0
    settings.OPENAI_BASE_URL = "https://models.example.com/v1"
    add_event(helpdesk)
    page = words(client.post(at(helpdesk), FORM | {"start": "1", "token": "v1"}))
    assert "no cap could be kept" in page
    assert not Backtest.objects.exists()


def test_only_who_may_edit_may_pay(sign_in: Browse, bob: User, helpdesk: Source) -> None:
    client = sign_in(bob)
    backtest = Backtest.start(None, helpdesk.pipeline.get_draft(), [], cap_usd=Decimal(1))
    assert client.get(at(helpdesk)).status_code == 403
    assert client.get(f"/backtests/{backtest.pk}/").status_code == 403
    for verb in ("cancel", "resume"):
        assert client.post(f"/backtests/{backtest.pk}/{verb}/").status_code == 403
