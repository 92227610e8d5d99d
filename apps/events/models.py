"""Events and the attempts made for them. Status changes only through the verbs of Event."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from apps.events.ids import get_public_id, new_event_id
from apps.pipelines.models import PipelineVersion
from apps.sources.models import Source


class Status(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DELIVERED = "delivered", "Delivered"
    FILTERED = "filtered", "Filtered"
    DEAD = "dead", "Dead letter"
    HELD = "held", "Held"
    DISCARDED = "discarded", "Discarded"


OPEN = (Status.QUEUED, Status.RUNNING)
FINISHED = (Status.DELIVERED, Status.FILTERED, Status.DISCARDED)
RETRYABLE = (Status.DEAD, Status.HELD)


class Step(models.TextChoices):
    QUEUE = "queue", "Queue"
    PREPARE = "prepare", "Prepare"
    LLM = "llm", "LLM"
    DELIVER = "deliver", "Deliver"


class Event(models.Model):
    """One accepted message. Unique by (source, idempotency key)."""

    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="events")
    pipeline_version = models.ForeignKey(
        PipelineVersion, on_delete=models.PROTECT, related_name="events"
    )
    idempotency_key = models.CharField(max_length=255)
    event_type = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.QUEUED)
    run = models.PositiveIntegerField(default=1)
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    step = models.CharField(max_length=10, choices=Step.choices, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.CharField(max_length=500, blank=True)
    answer = models.JSONField(null=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    size_bytes = models.PositiveIntegerField(default=0)
    excerpt = models.TextField(blank=True)  # first 2,000 characters of the body, for the search

    class Meta:
        ordering = ["-received_at", "-id"]
        permissions = [
            ("retry_event", "Can retry events"),
            ("discard_event", "Can discard events"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "idempotency_key"], name="event_once_per_idempotency_key"
            ),
            models.CheckConstraint(
                name="event_status_known", condition=Q(status__in=Status.values)
            ),
            models.CheckConstraint(
                name="finished_event_has_end",
                condition=~Q(status__in=FINISHED) | Q(finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="event_newest"),
            models.Index(fields=["status", "-received_at"], name="event_by_status"),
            models.Index(fields=["source", "-received_at"], name="event_by_source"),
            models.Index(fields=["status", "changed_at"], name="event_stalled"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return get_public_id(self.id)

    @property
    def workflow_id(self) -> str:
        """Deterministic, so that starting twice is starting once."""
        return f"{self.public_id}-r{self.run}"

    @classmethod
    def find_stalled(cls, before: datetime, count: int) -> list[Event]:
        """Open events that nothing has happened to since `before`, longest ago first."""
        stalled = cls.objects.filter(status__in=OPEN, changed_at__lt=before)
        return list(stalled.only("id", "run").order_by("changed_at")[:count])

    # --- Verbs: each one conditional UPDATE; False means that somebody else was first ---------

    def _move(self, allowed: tuple[Status, ...], to: Status, **fields: Any) -> bool:
        """Go from one of `allowed` to `to`, if this is still the current run."""
        fields |= {"status": to, "changed_at": timezone.now()}
        current = type(self).objects.filter(pk=self.pk, run=self.run, status__in=allowed)
        moved = bool(current.update(**fields))
        if moved:
            for name, value in fields.items():
                setattr(self, name, value)
        return moved

    @classmethod
    def mark_running(cls, ids: Sequence[uuid.UUID]) -> int:
        """Queued → running for a batch whose workflows have started; how many were still queued."""
        queued = cls.objects.filter(pk__in=ids, status=Status.QUEUED)
        return queued.update(status=Status.RUNNING, changed_at=timezone.now())

    @classmethod
    def note_looked_at(cls, ids: Sequence[uuid.UUID]) -> int:
        """Let open events of the batch count as changed now, so that others come first."""
        return cls.objects.filter(pk__in=ids, status__in=OPEN).update(changed_at=timezone.now())

    def start(self) -> bool:
        """Queued → running. True also if this run is running already (a step tried again)."""
        return self._move(OPEN, Status.RUNNING)

    def note_failure(self, step: Step, code: str, reason: str) -> bool:
        """Stay running, and show why the last attempt did not succeed."""
        fields = {"step": step, "error_code": code[:60], "error": reason[:500]}
        return self._move(OPEN, Status.RUNNING, **fields)

    def keep_answer(self, answer: Any, cost_usd: Decimal) -> bool:
        """Stay running, with the model's answer and what the event has cost until now."""
        fields = {"answer": answer, "cost_usd": cost_usd, "step": Step.DELIVER}
        return self._move(OPEN, Status.RUNNING, error_code="", error="", **fields)

    def deliver(self) -> bool:
        """Running → delivered."""
        now = timezone.now()
        return self._move(OPEN, Status.DELIVERED, finished_at=now, step="", error_code="", error="")

    def filter_out(self) -> bool:
        """Running → filtered: the pipeline's filter does not want it."""
        now = timezone.now()
        return self._move(OPEN, Status.FILTERED, finished_at=now, step="", error_code="", error="")

    def bury(self, step: Step, code: str, reason: str) -> bool:
        """Running → dead letter: 5 attempts failed, or the error is permanent."""
        now = timezone.now()
        fields = {"step": step, "error_code": code[:60], "error": reason[:500]}
        return self._move(OPEN, Status.DEAD, finished_at=now, **fields)

    def hold(self, step: Step, code: str, reason: str) -> bool:
        """Running → held: waits for a person."""
        fields = {"step": step, "error_code": code[:60], "error": reason[:500]}
        return self._move(OPEN, Status.HELD, **fields)

    def retry(self) -> bool:
        """Dead or held → queued, as a new run; its workflow starts on commit."""
        from apps.events.workflow_client import start_soon

        fields = {"finished_at": None, "error_code": "", "error": "", "step": ""}
        with transaction.atomic():
            # The UPDATE asks for this run, so one more than it is exact.
            moved = self._move(RETRYABLE, Status.QUEUED, run=self.run + 1, **fields)
            if moved:
                transaction.on_commit(lambda: start_soon(self))
        return moved

    def discard(self) -> bool:
        """Dead or held → discarded: nobody will need it."""
        return self._move(RETRYABLE, Status.DISCARDED, finished_at=timezone.now())


class EventBody(models.Model):
    """The bytes as they were received; apart from the event, so that lists stay quick."""

    event = models.OneToOneField(
        Event, primary_key=True, on_delete=models.CASCADE, related_name="body"
    )
    raw = models.BinaryField()
    content_type = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name_plural = "event bodies"

    def __str__(self) -> str:
        return f"body of evt_{uuid.UUID(str(self.event_id)).hex}"


class Attempt(models.Model):
    """One try of one step: how it ended, when, why and what it cost."""

    class Outcome(models.TextChoices):
        OK = "ok", "OK"
        FAILED = "failed", "Failed, tried again"
        PERMANENT = "permanent", "Failed for good"
        HELD = "held", "Held"
        WAITED = "waited", "Waited"
        REUSED = "reused", "Answer reused"

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="attempts")
    run = models.PositiveIntegerField()
    step = models.CharField(max_length=10, choices=Step.choices)
    number = models.PositiveIntegerField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(default=timezone.now)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.CharField(max_length=500, blank=True)
    http_status = models.PositiveIntegerField(null=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)

    class Meta:
        ordering = ["started_at", "id"]
        indexes = [models.Index(fields=["finished_at"], name="attempt_finished")]

    def __str__(self) -> str:
        return f"{self.step} {self.number}: {self.outcome}"
