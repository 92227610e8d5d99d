"""How long things are kept. Dead letters and held events stay until a person has decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from apps.dashboard.heartbeats import forget_old
from apps.dashboard.models import StatusSample
from apps.destinations.models import InboxItem
from apps.events.models import FINISHED, Event
from apps.ingest.models import RefusedRequest
from apps.llm.models import LLMBatch, LLMCall
from apps.pipelines.models import Sample

BATCH = 500
MAX_BATCHES = 200  # a run ends; the next goes on
SAMPLES_KEPT = timedelta(hours=24)


@dataclass(frozen=True)
class Removed:
    """How many rows one run deleted."""

    events: int
    samples: int
    refused: int
    batches: int
    tried: int  # payloads that were no events


def remove_old_events() -> int:
    """Delete finished events past RETENTION_DAYS with payload, attempts, ledger and inbox item."""
    limit = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = Event.objects.filter(status__in=FINISHED, finished_at__lt=limit)
    removed = 0
    for _ in range(MAX_BATCHES):
        ids = list(old.order_by("finished_at").values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        InboxItem.objects.filter(event_id__in=ids).delete()
        # The status again: an event may have been retried since it was listed.
        Event.objects.filter(pk__in=ids, status__in=FINISHED).delete()
        removed += len(ids)
    return removed


def remove_old_refused() -> int:
    """Delete refused requests that last came more than REFUSED_KEEP_DAYS ago."""
    limit = timezone.now() - timedelta(days=settings.REFUSED_KEEP_DAYS)
    old = RefusedRequest.objects.filter(last_received_at__lt=limit)
    removed = 0
    for _ in range(MAX_BATCHES):
        ids = list(old.values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        RefusedRequest.objects.filter(pk__in=ids).delete()
        removed += len(ids)
    return removed


def remove_old_batches() -> int:
    """Delete ended batches past RETENTION_DAYS, but for those whose events a person must see."""
    limit = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = LLMBatch.objects.filter(finished_at__lt=limit)
    _, removed = old.exclude(calls__state=LLMCall.State.UNKNOWN).delete()
    return removed.get("llm.LLMBatch", 0)


def remove_old_samples() -> int:
    """Delete payloads that were tried once, or removed by a person, RETENTION_DAYS ago."""
    removed = 0
    for _ in range(MAX_BATCHES):
        ids = list(Sample.find_outdated().values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        Sample.objects.filter(pk__in=ids, kept_until__isnull=False).delete()
        removed += len(ids)
    return removed


def apply() -> Removed:
    """One run over everything that ages."""
    samples, _ = StatusSample.objects.filter(at__lt=timezone.now() - SAMPLES_KEPT).delete()
    forget_old()
    return Removed(
        events=remove_old_events(),
        samples=samples,
        refused=remove_old_refused(),
        batches=remove_old_batches(),
        tried=remove_old_samples(),
    )
