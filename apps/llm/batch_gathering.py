"""Calls that wait become batches: of one provider, one model and one longest wait each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Min, QuerySet
from django.utils import timezone

from apps.events.models import OPEN
from apps.llm import ledger
from apps.llm.batch_lines import write_line
from apps.llm.batch_models import LLMBatch
from apps.llm.models import LLMCall

# A batch is cancelled when the first of its calls must have an answer: those of a pipeline that
# waits for a day must not be cancelled with those of one that waits for an hour.
GROUP = ("provider", "model", "event__pipeline_version__may_wait_h")
AT_ONCE = 500


def find_waiting() -> QuerySet[LLMCall]:
    """Calls that are in no batch yet."""
    return LLMCall.objects.filter(state=LLMCall.State.BATCH, batch=None)


def gather() -> list[LLMBatch]:
    """The batches that are full, or whose first call has waited long enough."""
    withdraw_closed()
    groups = find_waiting().values(*GROUP).annotate(count=Count("pk"), oldest=Min("intended_at"))
    since = timezone.now() - timedelta(seconds=settings.LLM_BATCH_GATHER_S)
    full = settings.LLM_BATCH_CALLS
    made = [
        make_batch({name: group[name] for name in GROUP})
        for group in groups.order_by("oldest")
        if group["count"] >= full or group["oldest"] <= since
    ]
    return [batch for batch in made if batch]


def withdraw_closed() -> None:
    """Calls of events that were discarded since: nobody waits for them."""
    closed = find_waiting().exclude(event__status__in=OPEN)
    for call in closed[:AT_ONCE]:
        ledger.withdraw(call)


def make_batch(group: dict[str, Any]) -> LLMBatch | None:
    """One batch of the oldest calls of the group, committed with them; None if they are gone."""
    calls = choose(find_waiting().filter(**group).order_by("intended_at", "pk"))
    if not calls:
        return None
    with transaction.atomic():
        batch = LLMBatch.objects.create(
            provider=group["provider"],
            model=group["model"],
            due_at=min(call.due_at for call in calls if call.due_at),
        )
        ids = [call.pk for call in calls]
        for index in range(0, len(ids), AT_ONCE):
            # Somebody else may gather at the same moment: a call is in one batch.
            mine = find_waiting().filter(pk__in=ids[index : index + AT_ONCE])
            batch.size += mine.update(batch=batch, batch_count=F("batch_count") + 1)
        if not batch.size:
            transaction.set_rollback(True)
            return None
        batch.save(update_fields=["size"])
    return batch


def choose(waiting: QuerySet[LLMCall]) -> list[LLMCall]:
    """As many as a file may hold, and one at least."""
    chosen: list[LLMCall] = []
    size = 0
    for call in waiting[: settings.LLM_BATCH_CALLS].iterator():
        size += len(write_line(call))
        if chosen and size > settings.LLM_BATCH_BYTES:
            break
        call.request = {}  # the files of a day need not be in memory at once
        chosen.append(call)
    return chosen
