"""How much of each budget is used in its present period, and who waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count
from django.utils import timezone

from apps.events.models import Status
from apps.llm.budgets import CODES, find_periods, to_usd
from apps.llm.models import Budget, BudgetPeriod, BudgetWait


@dataclass(frozen=True)
class Usage:
    """One budget now. Money in millionths of a dollar; `waiting` counts events that are held."""

    budget: Budget
    period: BudgetPeriod
    next_start: datetime
    waiting: int = 0

    @property
    def used_micros(self) -> int:
        return self.period.spent_micros + self.period.reserved_micros

    @property
    def free_micros(self) -> int:
        return self.budget.limit_micros - self.used_micros

    @property
    def ratio(self) -> float:
        """1 where all is used; also of a budget of nothing."""
        limit = self.budget.limit_micros
        return self.used_micros / limit if limit else 1.0

    @property
    def percent(self) -> int:
        """Rounded down: 100 only where nothing is left."""
        return int(100 * self.ratio)

    @property
    def tone(self) -> str:
        """'' below 80 %, then warning; danger where all is used or events wait."""
        if self.waiting or self.percent >= 100:
            return "danger"
        return "warning" if self.percent >= 80 else ""

    @property
    def spent_usd(self) -> Decimal:
        return to_usd(self.period.spent_micros)

    @property
    def reserved_usd(self) -> Decimal:
        return to_usd(self.period.reserved_micros)


def get_usages() -> list[Usage]:
    """Of all budgets; one that has no call in its present period yet has used nothing."""
    now = timezone.now()
    budgets = list(Budget.objects.select_related("source", "pipeline"))
    periods = find_periods({budget.pk: budget.get_start(now) for budget in budgets})
    waiting = count_waiting() if budgets else {}
    return [
        Usage(
            budget,
            periods.get(budget.pk) or BudgetPeriod(budget=budget),
            budget.get_next_start(now),
            waiting.get(budget.pk, 0),
        )
        for budget in budgets
    ]


def count_waiting() -> dict[int | None, int]:
    """Held events by the budget (id) that refused them; None: the model's price is unknown."""
    waits = BudgetWait.objects.filter(event__status=Status.HELD, event__error_code__in=CODES)
    return dict(waits.values_list("budget").annotate(count=Count("pk")).order_by())
