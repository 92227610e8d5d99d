"""Budgets: what may be spent on calls in a day or a month, and what has been.

Money is counted in whole millionths of a dollar: SQLite adds decimals as floats, and fifty calls
of a cent would not fit into fifty cents.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from apps.events.models import Event
from apps.pipelines.models import Pipeline
from apps.sources.models import Source

MICROS = 1_000_000
ALERT_PERCENT, SPENT_PERCENT = 80, 100


class Period(models.TextChoices):
    DAY = "day", "Day"
    MONTH = "month", "Month"


class Budget(models.Model):
    """A limit for one source, one pipeline or, where neither is named, for all calls."""

    period = models.CharField(
        max_length=5,
        choices=Period.choices,
        default=Period.MONTH,
        help_text="Days and months begin at 00:00 UTC.",
    )
    limit_usd = models.DecimalField(
        "limit in US dollars",
        max_digits=12,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
    )
    source = models.ForeignKey(
        Source,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="budgets",
        help_text="Only calls for events of this source.",
    )
    pipeline = models.ForeignKey(
        Pipeline,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="budgets",
        help_text="Only calls of this pipeline. Source and pipeline empty: all calls.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["period", "pk"]
        constraints = [
            models.CheckConstraint(
                name="budget_has_one_scope",
                condition=Q(source=None) | Q(pipeline=None),
                violation_error_message="Choose a source or a pipeline, not both.",
            ),
            models.CheckConstraint(
                name="budget_not_negative", condition=Q(limit_usd__gte=Decimal(0))
            ),
            models.UniqueConstraint(
                fields=["period"],
                condition=Q(source=None, pipeline=None),
                name="budget_once_for_all",
                violation_error_message="There is a budget for all calls of this period.",
            ),
            models.UniqueConstraint(
                fields=["period", "source"],
                condition=Q(source__isnull=False),
                name="budget_once_for_source",
                violation_error_message="This source has a budget for this period.",
            ),
            models.UniqueConstraint(
                fields=["period", "pipeline"],
                condition=Q(pipeline__isnull=False),
                name="budget_once_for_pipeline",
                violation_error_message="This pipeline has a budget for this period.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope}, each {self.period}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A new budget counts what its first period has cost already; a changed one warns anew."""
        with transaction.atomic():
            is_new = self._state.adding
            super().save(*args, **kwargs)
            if is_new:
                self._open_first_period()
            else:
                self.periods.update(alerted_percent=0)

    @property
    def scope(self) -> str:
        """`all calls`, or the source's or pipeline's name."""
        if self.source:
            return f"source {self.source.name}"
        return f"pipeline {self.pipeline.name}" if self.pipeline else "all calls"

    @property
    def label(self) -> str:
        """For metrics: `all`, `source:<slug>` or `pipeline:<slug>`."""
        if self.source:
            return f"source:{self.source.slug}"
        return f"pipeline:{self.pipeline.slug}" if self.pipeline else "all"

    @property
    def limit_micros(self) -> int:
        return int(self.limit_usd * MICROS)

    def covers(self, event: Event) -> bool:
        """Whether it applies to the event's calls."""
        if self.source_id:
            return self.source_id == event.source_id
        return self.pipeline_id in (None, event.pipeline_version.pipeline_id)

    def get_start(self, now: datetime) -> date:
        """The first day, in UTC, of the period that `now` lies in."""
        today = now.astimezone(UTC).date()
        return today if self.period == Period.DAY else today.replace(day=1)

    def get_next_start(self, now: datetime) -> datetime:
        """When the next period begins."""
        start = self.get_start(now)
        days = 1 if self.period == Period.DAY else 32
        following = start + timedelta(days=days)
        if self.period == Period.MONTH:
            following = following.replace(day=1)
        return datetime.combine(following, time.min, UTC)

    def _open_first_period(self) -> None:
        from apps.llm.models import LLMCall

        start = self.get_start(timezone.now())
        since = datetime.combine(start, time.min, UTC)
        calls = LLMCall.objects.filter(answered_at__gte=since)
        if self.source_id:
            calls = calls.filter(event__source=self.source_id)
        if self.pipeline_id:
            of_event = models.Q(event__pipeline_version__pipeline=self.pipeline_id)
            calls = calls.filter(of_event | models.Q(sample__pipeline=self.pipeline_id))
        spent: Decimal = calls.aggregate(sum=models.Sum("cost_usd"))["sum"] or Decimal(0)
        BudgetPeriod.objects.create(budget=self, starts_on=start, spent_micros=int(spent * MICROS))


class BudgetPeriod(models.Model):
    """What one day or month of a budget has cost, and what calls under way may cost yet."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    starts_on = models.DateField()
    spent_micros = models.BigIntegerField(default=0)
    reserved_micros = models.BigIntegerField(default=0)
    alerted_percent = models.PositiveSmallIntegerField(default=0)  # told already: 0, 80 or 100

    class Meta:
        ordering = ["-starts_on", "budget"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "starts_on"], name="budget_period_once")
        ]

    def __str__(self) -> str:
        return f"{self.budget} from {self.starts_on}"


class BudgetWait(models.Model):
    """An event that waits for money, or has gone on and not reserved it yet."""

    event = models.OneToOneField(
        Event, primary_key=True, on_delete=models.CASCADE, related_name="budget_wait"
    )
    # The one that refused; none where the price of the model is unknown.
    budget = models.ForeignKey(Budget, null=True, on_delete=models.SET_NULL, related_name="waits")
    needs_micros = models.BigIntegerField(default=0)
    model = models.CharField(max_length=120, blank=True)
    provider = models.CharField(max_length=60, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.event_id} waits for {self.budget_id}"

    @classmethod
    def of(cls, event: Event) -> BudgetWait | None:
        """The event's own, where there is one."""
        wait: BudgetWait | None = getattr(event, "budget_wait", None)
        return wait
