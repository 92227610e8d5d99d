"""Spending, hour by hour: added up by a periodic task, so that a page never reads the calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, IntegerField, Max, Min, QuerySet, Sum, Value
from django.db.models.functions import TruncHour
from django.utils import timezone

from apps.llm.models import CostHour, LLMCall, Subject
from apps.pipelines.models import Sample

HOUR = timedelta(hours=1)
# An answer is dated before its commit, which may wait for the database; later than this, never.
LOOK_BACK = 2 * HOUR
BATCH = 1000
KEY = ("hour", "source_id", "pipeline_id", "model", "provider")
SUMS = ("calls", "events", "input_tokens", "output_tokens", "cost_usd", "batch_saved_usd")


def add_up(now: datetime | None = None) -> int:
    """Write the hours since the newest that is written, and those just before; rows written."""
    start = get_first_open_hour(now or timezone.now())
    if start is None:
        return 0
    rows = [CostHour(**row) for row in read_hours(start)]
    for index in range(0, len(rows), BATCH):
        CostHour.objects.bulk_create(
            rows[index : index + BATCH],
            update_conflicts=True,
            unique_fields=["hour", "source", "pipeline", "model", "provider"],
            update_fields=list(SUMS),
        )
    return len(rows) + sum(_write_of_samples(row) for row in read_hours_of_samples(start))


def _write_of_samples(row: dict[str, Any]) -> int:
    """One at a time: without a source no conflict would tell that the hour is written."""
    sums = {name: row.pop(name) for name in SUMS}
    CostHour.objects.update_or_create(**row, on_samples=True, defaults=sums)
    return 1


def get_first_open_hour(now: datetime) -> datetime | None:
    """Where to begin; None where there was never a call."""
    newest = CostHour.objects.filter(calls__gt=0).aggregate(at=Max("hour"))["at"]
    oldest = newest or LLMCall.objects.aggregate(at=Min("answered_at"))["at"]
    if oldest is None:
        return None
    start: datetime = min(oldest, now) - LOOK_BACK
    return to_hour(start)


def read_hours(start: datetime) -> Iterator[dict[str, Any]]:
    """KEY and SUMS of every hour from `start` on, out of the ledger: calls for events."""
    calls = LLMCall.objects.filter(event__isnull=False)
    return _add_up(calls, start, "event__source", "event__pipeline_version__pipeline")


def read_hours_of_samples(start: datetime) -> Iterator[dict[str, Any]]:
    """The same of calls for samples."""
    calls = LLMCall.objects.filter(sample__isnull=False)
    return _add_up(calls, start, Value(None, IntegerField()), "sample__pipeline")


def _add_up(
    calls: QuerySet[LLMCall], start: datetime, source: Any, pipeline: str
) -> Iterator[dict[str, Any]]:
    hours = calls.filter(answered_at__gte=start).annotate(
        hour=TruncHour("answered_at"),
        source=F(source) if isinstance(source, str) else source,
        pipeline=F(pipeline),
    )
    rows = (
        hours.values_list("hour", "source", "pipeline", "model", "provider")
        .annotate(
            calls=Count("pk"),
            events=Count("event", distinct=True),
            input=Sum("input_tokens"),
            output=Sum("output_tokens"),
            cost=Sum("cost_usd"),
            saved=Sum("saved_usd"),
        )
        .order_by("hour")
    )
    return (dict(zip((*KEY, *SUMS), row, strict=True)) for row in rows)


def note_saving(subject: Subject, call: LLMCall) -> None:
    """An answer on record was used again, for nothing."""
    key: dict[str, Any] = {
        "hour": to_hour(timezone.now()),
        "source_id": subject.source_id,
        "pipeline_id": subject.pipeline_id,
        "model": call.model,
        "provider": call.provider,
        "on_samples": isinstance(subject, Sample),
    }
    with transaction.atomic():
        row, _ = CostHour.objects.get_or_create(**key)
        CostHour.objects.filter(pk=row.pk).update(
            reused=F("reused") + 1, saved_usd=F("saved_usd") + call.cost_usd
        )


def to_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
