"""What is deleted when it is old, and what never is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.dashboard.models import PartHeartbeat, StatusSample
from apps.destinations.models import Destination, InboxItem
from apps.events.models import Event, EventBody, Status
from apps.housekeeping import retention
from apps.ingest.models import RefusedRequest
from apps.llm.models import LLMBatch
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.refused import OTHER_SECRET, make_refused

LONG_AGO = timezone.now() - timedelta(days=31)


def test_a_finished_event_past_its_days_goes_with_its_body_and_inbox_item(
    helpdesk: Source, inbox: Destination
) -> None:
    event = make_event(helpdesk, status=Status.DELIVERED, finished_at=LONG_AGO)
    InboxItem.objects.create(destination=inbox, event_id=event.pk, answer={})
    assert retention.apply().events == 1
    assert not Event.objects.exists()
    assert not EventBody.objects.exists()
    assert not InboxItem.objects.exists()


def test_a_finished_event_within_its_days_stays(helpdesk: Source) -> None:
    recently = timezone.now() - timedelta(days=29)
    make_event(helpdesk, status=Status.DELIVERED, finished_at=recently)
    assert retention.apply().events == 0
    assert Event.objects.count() == 1


@pytest.mark.parametrize("status", [Status.DEAD, Status.HELD, Status.QUEUED, Status.RUNNING])
def test_what_still_needs_somebody_is_never_deleted(helpdesk: Source, status: Status) -> None:
    make_event(helpdesk, status=status, finished_at=LONG_AGO)
    retention.apply()
    assert Event.objects.filter(status=status).exists()


def test_more_than_one_batch_is_deleted_in_one_run(
    helpdesk: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        make_event(helpdesk, status=Status.FILTERED, finished_at=LONG_AGO)
    assert retention.apply().events == 5


@pytest.mark.django_db
def test_old_samples_and_processes_are_forgotten() -> None:
    sample = StatusSample.objects.create()
    StatusSample.objects.filter(pk=sample.pk).update(at=timezone.now() - timedelta(hours=25))
    fresh = StatusSample.objects.create()
    PartHeartbeat.objects.create(part="worker", instance="gone:1", at=LONG_AGO)
    assert retention.apply().samples == 1
    assert list(StatusSample.objects.all()) == [fresh]
    assert not PartHeartbeat.objects.exists()


def test_old_refused_requests_are_deleted_whatever_became_of_them(helpdesk: Source) -> None:
    make_refused(helpdesk, "old", secret=OTHER_SECRET)
    fresh = make_refused(helpdesk, "fresh", secret=OTHER_SECRET)
    make_refused(helpdesk, "discarded", secret=OTHER_SECRET).discard(None)
    RefusedRequest.objects.exclude(pk=fresh.pk).update(
        last_received_at=timezone.now() - timedelta(days=8)
    )
    assert retention.apply().refused == 2

    assert RefusedRequest.objects.get() == fresh


def test_old_batches_are_deleted_once_nobody_waits_for_them(db: None) -> None:
    fields = {"model": "m", "due_at": LONG_AGO, "created_at": LONG_AGO}
    LLMBatch.objects.create(state="finished", finished_at=LONG_AGO, **fields)
    LLMBatch.objects.create(state="running", **fields)
    assert retention.apply().batches == 1
    assert LLMBatch.objects.get().state == "running"
