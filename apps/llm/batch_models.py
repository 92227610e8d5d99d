"""Batches: many calls that go to the provider as one file, at a lower price, and come back later.

A row is committed before anything is sent for it, and its id is the mark that the provider keeps
with the batch: a process that dies in between leaves enough to find out what became of it.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q, QuerySet
from django.utils import timezone

LEASE_MARGIN_S = 60.0


class BatchState(models.TextChoices):
    GATHERED = "gathered", "About to be sent"
    UPLOADED = "uploaded", "Uploaded"
    CREATING = "creating", "Being created"
    RUNNING = "running", "At the provider"
    FINISHED = "finished", "Finished"
    REFUSED = "refused", "Not taken by the provider"
    UNKNOWN = "unknown", "Nobody knows what became of it"


ENDED = (BatchState.FINISHED, BatchState.REFUSED, BatchState.UNKNOWN)


class LLMBatch(models.Model):
    """One batch. It is worked on under a lease; whoever has lost that changes nothing."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.CharField(max_length=60, blank=True)  # as LLMCall's
    model = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=BatchState.choices, default=BatchState.GATHERED)
    file_id = models.CharField(max_length=120, blank=True)
    batch_id = models.CharField(max_length=120, blank=True)  # the provider's
    provider_status = models.CharField(max_length=20, blank=True)
    problem = models.CharField(max_length=200, blank=True)  # a sentence, for the page
    # Calls: in all, and what came of them until now.
    size = models.PositiveIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    saved_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    due_at = models.DateTimeField()  # when the first of its calls must have an answer
    created_at = models.DateTimeField(default=timezone.now)
    creating_at = models.DateTimeField(null=True)  # when the provider was, or may have been, asked
    cancelled_at = models.DateTimeField(null=True)  # when it was asked to stop, as time was up
    finished_at = models.DateTimeField(null=True)
    # How far its files are read, where that goes on in another round: see `batch_results.Reader`.
    reading = models.JSONField(null=True, blank=True)
    faults = models.PositiveIntegerField(default=0, db_default=0)  # of ours, one after the other
    lease = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "LLM batch"
        verbose_name_plural = "LLM batches"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="llm_batch_newest"),
            models.Index(
                fields=["created_at"],
                name="llm_batch_open",
                condition=~Q(state__in=("finished", "refused", "unknown")),
            ),
        ]

    def __str__(self) -> str:
        return f"batch {self.id.hex[:8]} of {self.model}"

    @property
    def is_open(self) -> bool:
        return self.state not in ENDED

    @property
    def waiting(self) -> int:
        """Calls of which nothing came back yet."""
        return self.size - self.answered - self.refused - self.lost

    @classmethod
    def find_due(cls) -> QuerySet[LLMBatch]:
        """Those that nobody works on, or whose worker is gone; first who has waited longest."""
        # Not `exclude`: the partial index wants the condition as it stands.
        return cls._find_free().filter(~Q(state__in=ENDED))

    @classmethod
    def find_lost(cls, due_since: datetime) -> QuerySet[LLMBatch]:
        """Those of unknown outcome that may still show, or end, and that nobody looks for now."""
        return cls._find_free().filter(
            state=BatchState.UNKNOWN, creating_at__isnull=False, due_at__gt=due_since
        )

    @classmethod
    def _find_free(cls) -> QuerySet[LLMBatch]:
        is_free = Q(leased_until=None) | Q(leased_until__lte=timezone.now())
        # Not by age: where each takes long, the oldest would be the only ones that have a turn.
        return cls.objects.filter(is_free).order_by(
            F("leased_until").asc(nulls_first=True), "created_at"
        )

    def take(self, seconds: float) -> bool:
        """Begin to work on it for so long at most; False where somebody else does."""
        lease, until = uuid.uuid4().hex, timezone.now() + timedelta(seconds=seconds)
        is_free = Q(leased_until=None) | Q(leased_until__lte=timezone.now())
        # In the state that was read: what is done next depends on it.
        mine = LLMBatch.objects.filter(is_free, pk=self.pk, state=self.state)
        is_mine = bool(mine.update(lease=lease, leased_until=until))
        if is_mine:
            self.refresh_from_db()  # others may have got further since it was read
        self.lease = lease if is_mine else ""
        return is_mine

    def keep(self, seconds: float) -> bool:
        """Go on with it for so long more; False where somebody else has taken it."""
        return self.change(leased_until=timezone.now() + timedelta(seconds=seconds))

    def rest(self, seconds: float, **fields: Any) -> bool:
        """Let anybody go on with it, after so long."""
        until = timezone.now() + timedelta(seconds=seconds)
        return self.change(leased_until=until, lease="", **fields)

    def change(self, **fields: Any) -> bool:
        """Under the lease; False where that is lost."""
        mine = LLMBatch.objects.filter(pk=self.pk, lease=self.lease)
        is_changed = bool(self.lease) and bool(mine.update(**fields))
        if is_changed:
            for name, value in fields.items():
                setattr(self, name, value)
        return is_changed

    @property
    def had_its_try(self) -> bool:
        """Whether half of the time is over: the other half belongs to direct calls."""
        return timezone.now() - self.created_at > (self.due_at - self.created_at) / 2

    def is_late(self, margin: timedelta, now: datetime | None = None) -> bool:
        """Whether the first of its calls must have its answer within `margin`."""
        return (now or timezone.now()) >= self.due_at - margin
