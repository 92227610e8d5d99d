"""Events and the attempts made for them. Status changes only through the verbs of Event."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from apps.events.conflict_models import EventAlias as EventAlias
from apps.events.conflict_models import EventConflict as EventConflict
from apps.events.conflict_models import KeyTaken as KeyTaken
from apps.events.ids import KEY_MAX_CHARS, get_public_id, new_event_id
from apps.events.payload import get_digest, read_excerpt
from apps.pipelines.models import PipelineVersion
from apps.sources.models import Secret, Source


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
QUARANTINED = "quarantined"
APPROVAL = "approval"  # held: its answer waits for a person's yes
PARKED = "llm_batch_waiting"  # running, and without a workflow: its call waits in a batch
FOR_APPROVAL = Q(status=Status.HELD, error_code=APPROVAL)


class Step(models.TextChoices):
    QUEUE = "queue", "Queue"
    PREPARE = "prepare", "Prepare"
    LLM = "llm", "LLM"
    DELIVER = "deliver", "Deliver"


class EventQuerySet(models.QuerySet["Event"]):
    def marking_conflicts(self) -> EventQuerySet:
        """With `has_conflicts` on each: whether another body came under its key."""
        others = EventConflict.objects.filter(event=OuterRef("pk"))
        return self.annotate(has_conflicts=Exists(others))

    def with_secret(self) -> EventQuerySet:
        """With the secret that verified each, but not its value: nobody needs that to name it."""
        return self.select_related("secret").defer("secret__value")


class Event(models.Model):
    """One accepted message. Unique by (source, idempotency key)."""

    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="events")
    pipeline_version = models.ForeignKey(
        PipelineVersion, on_delete=models.PROTECT, related_name="events"
    )
    idempotency_key = models.CharField(max_length=KEY_MAX_CHARS)
    event_type = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.QUEUED)
    run = models.PositiveIntegerField(default=1)
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    # Until then its workflow sleeps, because a limit, a breaker or another server asked for it.
    waiting_until = models.DateTimeField(null=True)
    step = models.CharField(max_length=10, choices=Step.choices, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error = models.CharField(max_length=500, blank=True)
    answer = models.JSONField(null=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    size_bytes = models.PositiveIntegerField(default=0)
    excerpt = models.TextField(blank=True)  # first 2,000 characters of the body, for the search
    # Empty for events of older releases. The default stands in the database too: a dispatcher of
    # an older release may still write during an upgrade.
    body_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # The secret that verified it. No index: it is only ever asked for among a source's newest.
    secret = models.ForeignKey(
        Secret, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    objects = EventQuerySet.as_manager()

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
            models.Index(
                fields=["waiting_until"],
                name="event_waiting",
                condition=Q(waiting_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return get_public_id(self.id)

    @property
    def pipeline_id(self) -> int:
        return self.pipeline_version.pipeline_id

    @property
    def workflow_id(self) -> str:
        """Deterministic, so that starting twice is starting once."""
        return f"{self.public_id}-r{self.run}"

    @classmethod
    def find(cls, pk: uuid.UUID, events: QuerySet[Event] | None = None) -> Event | None:
        """The event (of `events`) with this id, or the one that was acknowledged under it too."""
        events = cls.objects.all() if events is None else events
        if event := events.filter(pk=pk).first():
            return event
        for other in (EventAlias, EventConflict):
            row = other.objects.filter(pk=pk).only("event").first()
            if row is not None:
                return events.filter(pk=row.event_id).first()
        return None

    @classmethod
    def from_body(cls, raw: bytes, quarantine: str = "", **fields: Any) -> Event:
        """An event that is not saved yet; held from the start where it must wait for a person."""
        if quarantine:
            fields |= {"status": Status.HELD, "step": Step.QUEUE}
            fields |= {"error_code": QUARANTINED, "error": quarantine[:500]}
        return cls(
            size_bytes=len(raw), body_sha256=get_digest(raw), excerpt=read_excerpt(raw), **fields
        )

    @classmethod
    def find_stalled(cls, before: datetime, count: int) -> list[Event]:
        """Open events that nothing has happened to since `before`, longest ago first.

        One that is parked has no workflow until its time is up, and needs none.
        """
        stalled = cls.objects.filter(status__in=OPEN, changed_at__lt=before)
        stalled = stalled.exclude(error_code=PARKED, waiting_until__gt=timezone.now())
        return list(stalled.only("id", "run").order_by("changed_at")[:count])

    @classmethod
    def count_active(cls, limit: int) -> int:
        """Open events that do something now, counted no further than `limit`."""
        now = timezone.now()
        awake = Q(waiting_until__isnull=True) | Q(waiting_until__lte=now)
        return cls.objects.filter(awake, status__in=OPEN).order_by()[:limit].count()

    @classmethod
    def count_waiting(cls, limit: int) -> int:
        """Workflows that sleep until a time that is known, counted no further than `limit`."""
        # No other status has this time: each move that gives none takes it away.
        asleep = cls.objects.filter(waiting_until__gt=timezone.now()).exclude(error_code=PARKED)
        return asleep.order_by()[:limit].count()

    @classmethod
    def find_parked(cls) -> QuerySet[Event]:
        """Those that wait in a batch."""
        return cls.objects.filter(
            status=Status.RUNNING, error_code=PARKED, waiting_until__gt=timezone.now()
        )

    @property
    def is_parked(self) -> bool:
        """Whether it waits in a batch, for hours and without a workflow."""
        until = self.waiting_until
        return self.error_code == PARKED and until is not None and until > timezone.now()

    # --- Verbs: each one conditional UPDATE; False means that somebody else was first ---------

    def _move(self, allowed: tuple[Status, ...], to: Status, **fields: Any) -> bool:
        """Go from one of `allowed` to `to`, if this is still the current run."""
        return self._move_from(Q(status__in=allowed), to, **fields)

    def _move_from(self, allowed: Q, to: Status, **fields: Any) -> bool:
        fields = {"waiting_until": None} | fields
        fields |= {"status": to, "changed_at": timezone.now()}
        current = type(self).objects.filter(allowed, pk=self.pk, run=self.run)
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

    def note_failure(
        self, step: Step, code: str, reason: str, waiting_until: datetime | None = None
    ) -> bool:
        """Stay running, and show why the last attempt did not succeed, and when the next may be."""
        fields = {"step": step, "error_code": code[:60], "error": reason[:500]}
        return self._move(OPEN, Status.RUNNING, waiting_until=waiting_until, **fields)

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
        """Dead or held → queued, as a new run; its workflow starts on commit.

        Not from a hold for approval: the same answer would only be held again.
        """
        from apps.events.workflow_client import start_soon

        fields = {"finished_at": None, "error_code": "", "error": "", "step": ""}
        with transaction.atomic():
            # The UPDATE asks for this run, so one more than it is exact.
            allowed = Q(status__in=RETRYABLE) & ~FOR_APPROVAL
            moved = self._move_from(allowed, Status.QUEUED, run=self.run + 1, **fields)
            if moved:
                transaction.on_commit(lambda: start_soon(self))
        return moved

    def hold_answer(self, answer: Any, cost_usd: Decimal, reason: str) -> bool:
        """Running → held for approval, with the model's answer: nothing is delivered before a yes.

        `apps.approvals` has the row that says why and until when.
        """
        fields = {"step": Step.DELIVER, "error_code": APPROVAL, "error": reason[:500]}
        return self._move(OPEN, Status.HELD, answer=answer, cost_usd=cost_usd, **fields)

    def release(self, answer: Any) -> bool:
        """Held for approval → running, in the same run: `answer` is what will be delivered."""
        fields = {"step": Step.DELIVER, "error_code": "", "error": ""}
        return self._move_from(FOR_APPROVAL, Status.RUNNING, answer=answer, **fields)

    def reject(self, code: str, reason: str) -> bool:
        """Held for approval → discarded: the answer must not be delivered."""
        fields = {"finished_at": timezone.now(), "error_code": code, "error": reason[:500]}
        return self._move_from(FOR_APPROVAL, Status.DISCARDED, **fields)

    def go_on(self) -> bool:
        """Held → running, in the same run: what it waited for, and no person for it, is there."""
        return self._move((Status.HELD,), Status.RUNNING, step="", error_code="", error="")

    def wake(self) -> bool:
        """Parked → running: what it waited for is there, and its workflow is started next."""
        parked = Q(status=Status.RUNNING, error_code=PARKED)
        return self._move_from(parked, Status.RUNNING, step="", error_code="", error="")

    @property
    def is_held_for_approval(self) -> bool:
        return self.status == Status.HELD and self.error_code == APPROVAL

    def fail(self, code: str, reason: str) -> bool:
        """Held → dead letter: a person says that nothing more will come of it."""
        fields = {"finished_at": timezone.now(), "error_code": code, "error": reason}
        return self._move((Status.HELD,), Status.DEAD, **fields)

    def discard(self) -> bool:
        """Dead, held or parked → discarded: nobody will need it. Held for approval: `reject`."""
        now = timezone.now()
        parked = Q(status=Status.RUNNING, error_code=PARKED, waiting_until__gt=now)
        allowed = (Q(status__in=RETRYABLE) & ~FOR_APPROVAL) | parked
        return self._move_from(allowed, Status.DISCARDED, finished_at=now)


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
    # Of a step that asks a model: {provider, model, passed_over: [{provider, model, code}]}.
    route = models.JSONField(null=True)

    class Meta:
        ordering = ["started_at", "id"]
        indexes = [models.Index(fields=["finished_at"], name="attempt_finished")]

    def __str__(self) -> str:
        return f"{self.step} {self.number}: {self.outcome}"
