"""Backtests: a draft on many past events, or on samples, with a cap on what it may cost.

Nothing is delivered.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.events.models import Event
from apps.llm.models import Subject
from apps.pipelines.models import Pipeline, PipelineDraft, PipelineVersion, Sample

MAX_EVENTS = 500
LEASE_MARGIN_S = 30.0


class BacktestState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped"
    CANCELLED = "cancelled", "Cancelled"


State = BacktestState


class Backtest(models.Model):
    """One draft as it was at the start, on a fixed list of events or samples.

    One process at a time works on it, under a lease; who comes after a crash goes on with the rows
    that wait, and what was paid before is reused by the ledger.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="backtests")
    config = models.JSONField(encoder=DjangoJSONEncoder)
    label_path = models.CharField(max_length=500, blank=True)  # JMESPath into the payload
    answer_path = models.CharField(max_length=500, blank=True)  # JMESPath into the answer
    cap_usd = models.DecimalField(max_digits=12, decimal_places=6)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    reason = models.CharField(max_length=500, blank=True)  # why it stopped
    lease = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField(null=True)  # or: not to be gone on with before
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        default_permissions = ()
        indexes = [
            models.Index(
                fields=["created_at"], name="backtest_running", condition=Q(state="running")
            )
        ]

    def __str__(self) -> str:
        return f"Backtest of {self.pipeline.slug}"

    @classmethod
    def start(
        cls, author: Any, draft: PipelineDraft, subjects: Sequence[Subject], **fields: Any
    ) -> Backtest:
        """With the draft as it is now. `fields` are cap and paths."""
        with transaction.atomic():
            backtest = cls.objects.create(
                pipeline=draft.pipeline,
                config=draft.get_version().get_config(),
                created_by=author if getattr(author, "pk", None) else None,
                **fields,
            )
            rows = [
                BacktestRow.of(subject, backtest=backtest, position=position)
                for position, subject in enumerate(subjects, 1)
            ]
            BacktestRow.objects.bulk_create(rows)
        return backtest

    @classmethod
    def find_due(cls) -> QuerySet[Backtest]:
        """Those that nobody works on, or whose worker is gone."""
        is_free = Q(leased_until=None) | Q(leased_until__lte=timezone.now())
        return cls.objects.filter(is_free, state=State.RUNNING).order_by("created_at")

    @property
    def is_on_samples(self) -> bool:
        return self.rows.filter(sample__isnull=False).exists()

    @property
    def step(self) -> str:
        """The step of its calls in the ledger: that of every backtest of the same draft."""
        text = json.dumps(self.config, sort_keys=True, cls=DjangoJSONEncoder)
        return f"backtest:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def get_version(self) -> PipelineVersion:
        """The draft as a version that is not saved."""
        return PipelineDraft(pipeline=self.pipeline, config=self.config).get_version()

    def get_spent_usd(self) -> Decimal:
        """By its own calls; a call of unknown outcome counts with the most that it may cost."""
        total: Decimal | None = self.rows.aggregate(total=models.Sum("cost_usd"))["total"]
        return total or Decimal(0)

    def take(self) -> bool:
        """Begin to work on it; False where somebody else does, or it runs no more."""
        self.lease = uuid.uuid4().hex
        due = Backtest.find_due().filter(pk=self.pk)
        return bool(due.update(lease=self.lease, leased_until=_get_lease_end()))

    def beat(self) -> bool:
        """Before each call: keep the lease. False where it was cancelled, or taken over."""
        return self._change(leased_until=_get_lease_end())

    def rest(self, seconds: float = 0) -> bool:
        """Let anybody go on with it, after so long."""
        until = timezone.now() + timedelta(seconds=seconds) if seconds else None
        return self._change(lease="", leased_until=until)

    def finish(self) -> bool:
        return self._change(state=State.DONE, lease="", leased_until=None)

    def stop(self, reason: str) -> bool:
        """Until a person lets it go on."""
        return self._change(state=State.STOPPED, reason=reason[:500], lease="", leased_until=None)

    def _change(self, **fields: Any) -> bool:
        mine = Backtest.objects.filter(pk=self.pk, state=State.RUNNING, lease=self.lease)
        return bool(mine.update(**fields))

    def cancel(self) -> bool:
        """The call that is under way is recorded; no other follows."""
        running = Backtest.objects.filter(pk=self.pk, state__in=(State.RUNNING, State.STOPPED))
        return bool(running.update(state=State.CANCELLED, lease=""))

    def resume(self, cap_usd: Decimal) -> bool:
        """Go on with the rows that wait, up to this cap in all."""
        halted = Backtest.objects.filter(pk=self.pk, state__in=(State.STOPPED, State.CANCELLED))
        fresh = {"state": State.RUNNING, "reason": "", "lease": "", "leased_until": None}
        return bool(halted.update(cap_usd=cap_usd, **fresh))


def _get_lease_end() -> Any:
    return timezone.now() + timedelta(seconds=settings.LLM_TIMEOUT_S + LEASE_MARGIN_S)


class RowState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    ANSWERED = "answered", "Answered"
    FILTERED = "filtered", "Filtered out"
    FAILED = "failed", "No answer"


class BacktestRow(models.Model):
    """One event of a backtest: what it says now, and what the draft says. Or one sample."""

    backtest = models.ForeignKey(Backtest, on_delete=models.CASCADE, related_name="rows")
    position = models.PositiveIntegerField()
    event = models.ForeignKey(Event, null=True, on_delete=models.CASCADE, related_name="+")
    sample = models.ForeignKey(Sample, null=True, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=RowState.choices, default=RowState.WAITING)
    old_answer = models.JSONField(null=True)
    answer = models.JSONField(null=True)
    problem = models.CharField(max_length=500, blank=True)
    changed = models.JSONField(default=list)  # names of the answer's fields
    has_changed = models.BooleanField(default=False)
    label = models.JSONField(null=True)
    is_right = models.BooleanField(null=True)  # None: no label
    was_right = models.BooleanField(null=True)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    latency_s = models.FloatField(default=0)
    is_reused = models.BooleanField(default=False)
    route = models.JSONField(null=True)  # which model answered, and which were passed over

    class Meta:
        ordering = ["position"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["backtest", "position"], name="backtest_row_once"),
            models.CheckConstraint(
                name="backtest_row_has_one_subject",
                condition=Q(event__isnull=False, sample__isnull=True)
                | Q(event__isnull=True, sample__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.backtest} {self.position}"

    @classmethod
    def of(cls, subject: Subject, **fields: Any) -> BacktestRow:
        """Not saved."""
        name = "event" if isinstance(subject, Event) else "sample"
        return cls(**{name: subject}, **fields)

    @property
    def subject(self) -> Subject:
        return cast("Subject", self.event or self.sample)

    def record(self, state: RowState, **fields: Any) -> None:
        """Waiting → `state`, once."""
        waiting = BacktestRow.objects.filter(pk=self.pk, state=RowState.WAITING)
        waiting.update(state=state, **fields)
