"""How much of each budget is used in its present period, and who waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, QuerySet
from django.utils import timezone

from apps.events.models import Status
from apps.llm.budgets import CODES, find_periods, to_usd
from apps.llm.models import Budget, BudgetPeriod, BudgetWait

NEWEST = 50  # events looked at where it only matters whether any waits


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


def get_usages(budgets: QuerySet[Budget] | None = None, *, counts: bool = True) -> list[Usage]:
    """Of all budgets, or of these; one without a call in its present period has used nothing.

    Without `counts`, `waiting` is 1 where any event waits: many are quicker found than counted.
    """
    now = timezone.now()
    rows = Budget.objects.all() if budgets is None else budgets
    found = list(rows.select_related("source", "pipeline"))
    periods = find_periods({budget.pk: budget.get_start(now) for budget in found})
    waiting = (count_waiting(found) if counts else find_waiting(found)) if found else {}
    return [
        Usage(
            budget,
            periods.get(budget.pk) or BudgetPeriod(budget=budget),
            budget.get_next_start(now),
            waiting.get(budget.pk, 0),
        )
        for budget in found
    ]


def get_usage(budget: Budget) -> Usage:
    """Of one, with the number of events that wait for it."""
    return get_usages(Budget.objects.filter(pk=budget.pk))[0]


def get_warnings() -> list[Usage]:
    """The budgets that somebody should know of, for pages that are fetched all the time."""
    return [usage for usage in get_usages(counts=False) if usage.tone]


def get_waits() -> list[Usage]:
    """The budgets that events wait for."""
    return [usage for usage in get_usages() if usage.waiting]


def count_waiting(budgets: list[Budget]) -> dict[int | None, int]:
    """Held events by the budget (id) that refused them."""
    waits = held_waits().filter(budget__in=budgets)
    return dict(waits.values_list("budget").annotate(count=Count("pk")).order_by())


def find_waiting(budgets: list[Budget]) -> dict[int | None, int]:
    """1 for each budget that one of its newest events waits for: the oldest go on first."""
    found: dict[int | None, int] = {}
    for budget in budgets:
        waits = BudgetWait.objects.filter(budget=budget).order_by("-pk")
        newest = list(waits.values_list("pk", flat=True)[:NEWEST])
        if newest and held_waits().filter(pk__in=newest).exists():
            found[budget.pk] = 1
    return found


def held_waits() -> QuerySet[BudgetWait]:
    return BudgetWait.objects.filter(event__status=Status.HELD, event__error_code__in=CODES)
