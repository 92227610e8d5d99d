"""What a backtest says in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Avg, Count, Q, Sum

from apps.backtests.models import Backtest, RowState
from apps.llm.pricing import MICRO_USD


@dataclass(frozen=True)
class Totals:
    """Counts of rows; `labelled` are those with a label and an answer, `was_labelled` with the
    event's own answer.
    """

    rows: int
    waiting: int
    answered: int
    filtered: int
    failed: int
    changed: int
    reused: int
    labelled: int
    right: int
    was_labelled: int
    was_right: int
    cost_usd: Decimal
    latency_s: float

    @property
    def done(self) -> int:
        return self.rows - self.waiting

    @property
    def percent(self) -> int:
        return 100 * self.done // self.rows if self.rows else 100


def add_up(backtest: Backtest) -> Totals:
    """In one query."""
    answered = Q(state=RowState.ANSWERED)
    found = backtest.rows.aggregate(
        rows=Count("pk"),
        waiting=Count("pk", filter=Q(state=RowState.WAITING)),
        answered=Count("pk", filter=answered),
        filtered=Count("pk", filter=Q(state=RowState.FILTERED)),
        failed=Count("pk", filter=Q(state=RowState.FAILED)),
        changed=Count("pk", filter=answered & Q(has_changed=True)),
        reused=Count("pk", filter=Q(is_reused=True)),
        labelled=Count("pk", filter=Q(is_right__isnull=False)),
        right=Count("pk", filter=Q(is_right=True)),
        was_labelled=Count("pk", filter=Q(was_right__isnull=False)),
        was_right=Count("pk", filter=Q(was_right=True)),
        cost_usd=Sum("cost_usd"),
        latency_s=Avg("latency_s", filter=answered),
    )
    found["cost_usd"] = (found["cost_usd"] or Decimal(0)).quantize(MICRO_USD)
    found["latency_s"] = found["latency_s"] or 0.0
    return Totals(**found)
