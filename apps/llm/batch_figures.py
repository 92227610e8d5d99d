"""How many calls wait in batches, for metrics."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Count, Min, Q

from apps.llm.batch_models import ENDED, BatchState, LLMBatch
from apps.llm.models import LLMCall


def count_calls() -> dict[str, int]:
    """Calls that wait for a batch, and calls in one, by the names of a metric's label."""
    waiting = LLMCall.objects.filter(state=LLMCall.State.BATCH)
    return waiting.aggregate(
        gathered=Count("pk", filter=Q(batch=None)), sent=Count("pk", filter=Q(batch__isnull=False))
    )


def count_unknown() -> int:
    """Batches of which nobody knows what became of them."""
    return LLMBatch.objects.filter(state=BatchState.UNKNOWN).count()


def count_faulty() -> int:
    """Open batches at which our own code fails."""
    return LLMBatch.objects.exclude(state__in=ENDED).filter(faults__gt=0).count()


def get_first_due() -> datetime | None:
    """When the first answer of an open batch must be there."""
    open_ones = LLMBatch.objects.exclude(state__in=ENDED)
    due_at: datetime | None = open_ones.aggregate(at=Min("due_at"))["at"]
    return due_at
