"""A pipeline made from a ready one is tried in the browser before any event came."""

from __future__ import annotations

import html
import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.backtests.models import Backtest
from apps.backtests.runner import run_due
from apps.destinations.models import Destination
from apps.events.models import Event
from apps.llm.models import LLMCall
from apps.pipelines.models import Pipeline, Sample
from apps.pipelines.ready import get_ready_pipelines
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of
from tests.pages.test_configuration_forms import get_pipeline_form

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(sign_in: Browse, alice: User, fake_llm: FakeLLM, settings: Settings) -> Client:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    return sign_in(alice)


@pytest.fixture
def routing(inbox: Destination) -> Pipeline:
    return get_ready_pipelines()["ticket-routing"].start(None, "routing", "Routing", inbox)


def at(pipeline: Pipeline, page: str = "draft/") -> str:
    return f"/pipelines/pipeline/{pipeline.pk}/{page}"


def words(response: Any) -> str:
    return html.unescape(text_of(response))


def add(pipeline: Pipeline, plan: str = "s1: ok", expected: Any = None) -> Sample:
    raw = f'{{"text": "hello [[{plan}]]"}}'.encode()
    return Sample.keep(pipeline, None, raw, name="Mine", expected=expected)


def test_the_editor_previews_on_the_samples_of_the_ready_pipeline(
    client: Client, routing: Pipeline
) -> None:
    page = words(client.get(at(routing)))
    assert "Samples of this ready pipeline" in page
    assert "Charged twice" in page
    assert "my rent is due" in page  # the prompt
    assert 'data-path="subject"' in page
    parcel = Sample.objects.get(name="Where is my parcel?")
    page = words(client.get(f"{at(routing)}?event={parcel.public_id}"))
    assert "The model does not see 1 phone number" in page
    assert "+49 30 901820" not in page.partition("as it would be sent")[2].partition("</pre>")[0]


def test_a_dry_run_on_a_sample_is_paid_once_and_leaves_no_event(
    client: Client, triage: Pipeline, fake_llm: FakeLLM
) -> None:
    sample = add(triage, expected={"category": "X "})
    path = f"{at(triage, 'draft/dry-run/')}?event={sample.public_id}"
    assert "is asked once for the sample “Mine”, for at most $0.00" in words(client.get(path))
    page = words(client.post(path, {"token": "v1"}))
    call = LLMCall.objects.get()
    assert (call.sample, call.event, call.step) == (sample, None, "dry-run")
    assert f"paid ${call.cost_usd}" in page
    assert ">right<" in page
    assert "nothing paid" in words(client.post(path, {"token": "v1"}))
    assert fake_llm.calls["s1"] == 1
    assert not Event.objects.exists()
    details = AuditEntry.objects.filter(action="draft.dry_run").first().details  # type: ignore[union-attr]
    assert details["sample"] == sample.public_id


def test_a_backtest_on_the_labelled_set_tells_the_agreement(
    client: Client, triage: Pipeline, fake_llm: FakeLLM
) -> None:
    add(triage, "s1: ok", {"category": "x"})
    add(triage, "s2: ok", {"category": "other"})
    add(triage, "s3: ok")
    path = at(triage, "backtests/")
    page = words(client.get(path))
    assert '<option value="labelled" selected>Samples with a label (2)' in page
    asked = {"on": "labelled", "cap_usd": "1", "count": ""}
    assert "2 samples: 2 paid calls, at most $0.00" in words(client.post(path, asked))
    client.post(path, asked | {"start": "1", "token": "v1"})
    backtest = Backtest.objects.get()
    run_due()
    page = words(client.get(f"/backtests/{backtest.pk}/"))
    assert "2 of 2 samples" in page
    assert "<dd>1 of 2</dd>" in page
    assert "This is what is published." in page
    assert (fake_llm.calls["s1"], fake_llm.calls["s3"]) == (1, 0)
    assert not Event.objects.exists()


def test_what_is_pasted_in_the_editor_is_kept_and_shown_and_the_draft_stays_as_typed(
    client: Client, triage: Pipeline
) -> None:
    typed = get_pipeline_form(triage, token="v1", prompt="Sort: {{ text }}")
    body = {"paste": "1", "sample_body": '{"text": "Pasted here"}'}
    page = words(client.post(at(triage), typed | body))
    assert "Own samples" in page
    assert "Sort: <event_data>Pasted here" in page
    assert not triage.get_draft().is_saved
    for wrong, said in (
        ("{", "not JSON: line 1"),
        (" ", "no body"),
        ('"' + "x" * 2**20, "at most"),
    ):
        page = words(client.post(at(triage), typed | body | {"sample_body": wrong}))
        assert said in page
    assert Sample.objects.get().origin == "own"


def test_an_event_is_pinned_and_outlives_its_body(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, b'{"text": "Keep me"}')
    typed = get_pipeline_form(helpdesk.pipeline, token="v1")
    client.post(at(helpdesk.pipeline), typed | {"pin": "1", "event": event.public_id})
    event.body.delete()
    sample = Sample.objects.get()
    page = words(client.get(f"{at(helpdesk.pipeline)}?event={sample.public_id}"))
    assert "Classify: <event_data>Keep me" in page


def test_samples_are_added_with_a_label_and_removed(client: Client, triage: Pipeline) -> None:
    path = at(triage, "samples/")
    page = words(client.get(path))
    assert "None yet." in page
    assert "null </textarea>" not in page
    typed = {"name": "N", "body": '{"text": "a"}', "expected": '{"category": "x"}'}
    assert "“N” is kept." in words(client.post(path, typed, follow=True))
    sample = Sample.objects.get()
    assert (json.loads(bytes(sample.raw)), sample.expected) == ({"text": "a"}, {"category": "x"})
    page = words(client.post(f"{path}{sample.public_id}/remove/", follow=True))
    assert "“N” is removed." in page
    sample.refresh_from_db()
    assert (bytes(sample.raw), sample.expected) == (b"", None)


def test_only_who_may_edit_sees_them(sign_in: Browse, bob: User, triage: Pipeline) -> None:
    client, sample = sign_in(bob), add(triage)
    assert client.get(at(triage, "samples/")).status_code == 403
    assert client.post(at(triage, f"samples/{sample.public_id}/remove/")).status_code == 403
    assert Sample.find_kept(triage).exists()
