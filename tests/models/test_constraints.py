"""What the database refuses, whoever asks: slugs, versions, paid requests twice."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.destinations.models import Destination
from apps.events.models import Event
from apps.llm.models import LLMCall
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.sources.models import Secret, Source
from tests.fixtures.cast import make_event


@pytest.mark.parametrize("noun", ["source", "pipeline", "destination"])
def test_a_slug_is_there_once(helpdesk: Source, noun: str) -> None:
    taken: dict[str, Any] = {
        "source": Source(slug="helpdesk", name="2", scheme="github", pipeline=helpdesk.pipeline),
        "pipeline": Pipeline(slug="triage", name="2"),
        "destination": Destination(slug="inbox", name="2", kind="inbox"),
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        taken[noun].save()


def test_a_version_number_is_there_once(triage: Pipeline, inbox: Destination) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        PipelineVersion.objects.create(pipeline=triage, number=1, prompt="x", destination=inbox)


def test_a_pipeline_without_events_goes_with_its_versions(triage: Pipeline) -> None:
    triage.delete()
    assert not PipelineVersion.objects.exists()


def test_a_secret_that_has_just_begun_can_be_retired(helpdesk: Source) -> None:
    for _ in range(20):  # the database's clock may be coarser than ours
        secret = Secret.objects.create(source=helpdesk, value="x")
        assert secret.retire() is True
        assert secret.retire() is False


def make_call(event: Event, **fields: Any) -> LLMCall:
    given = {"request_hash": "h", "model": "m", "request": {}, "intended_at": timezone.now()}
    return LLMCall.objects.create(event=event, **given | fields)


def test_a_request_is_in_the_ledger_once(helpdesk: Source) -> None:
    event = make_event(helpdesk)
    make_call(event)
    make_call(event, request_hash="another")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_call(event)


def test_an_answer_in_the_ledger_has_its_time(helpdesk: Source) -> None:
    event = make_event(helpdesk)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_call(event, state="answered")
