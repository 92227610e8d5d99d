"""Budgets before and after a call: the most it may cost is reserved, then what it did cost counts.

Both are part of the ledger's own transaction: a call's intent exists only with its reservation,
and each change of the call's state moves the money with it. A worker that is killed in between
leaves a call that is under way with its reservation, and whoever settles the call settles both.

In every transaction the call's row comes first, then the periods by their ids: two workers can
wait for each other's rows, but never in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import ROUND_UP, Decimal
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from apps.events.models import Event
from apps.llm.budget_models import MICROS, Budget, BudgetPeriod, BudgetWait
from apps.llm.models import LLMCall, Subject
from apps.llm.pricing import get_batch_cost_usd, get_cost_usd, has_price
from apps.llm.provider import LLMError
from workers.contracts import Verdict

BUDGET_SPENT, NO_PRICE = "budget_spent", "budget_no_price"
CODES = (BUDGET_SPENT, NO_PRICE)  # events held with these go on by themselves


class BudgetSpent(LLMError):
    """What is left of a budget is less than the call may cost. Goes on by itself with new money."""

    code = BUDGET_SPENT
    verdict = Verdict.HELD

    def __init__(self, budget: Budget, needs_micros: int, model: str) -> None:
        if needs_micros > budget.limit_micros:
            text = f"This call may cost ${to_usd(needs_micros)}, more than the whole budget"
        else:
            text = "No money is left for this call in the budget"
        super().__init__(f"{text} ({budget}). It goes on by itself when there is.")
        self.budget: Budget | None = budget
        self.needs_micros = needs_micros
        self.model = model


class PriceUnknown(LLMError):
    """A budget applies, and nobody knows what the model costs: the budget could not be kept."""

    code = NO_PRICE
    verdict = Verdict.HELD

    def __init__(self, model: str) -> None:
        super().__init__(
            f"A budget applies, and the price of the model {model} is not known: give it on the "
            "page Models. It goes on by itself then."
        )
        self.budget: Budget | None = None
        self.needs_micros = 0
        self.model = model


@dataclass(frozen=True)
class Charge:
    """What a call reserves: `micros` (millionths of a dollar) in each period."""

    event: Subject
    micros: int = 0
    model: str = ""
    periods: list[BudgetPeriod] = field(default_factory=list)
    waits: bool = True  # a trial is not what the event waits for

    @property
    def fields(self) -> dict[str, Any]:
        """As the call's row keeps it."""
        ids = [period.pk for period in self.periods]
        return {"reserved_micros": self.micros, "reserved_in": ids or None}

    def reserve(self) -> None:
        """In all periods or, by the end of the transaction, in none. Raises BudgetSpent."""
        for period in self.periods:
            room = period.budget.limit_micros - self.micros
            fitting = BudgetPeriod.objects.filter(
                pk=period.pk, reserved_micros__lte=room - F("spent_micros")
            )
            if not fitting.update(reserved_micros=F("reserved_micros") + self.micros):
                raise BudgetSpent(period.budget, self.micros, self.model)
        if self.periods and self.waits:
            BudgetWait.objects.filter(pk=self.event.pk).delete()


@contextmanager
def charging(
    event: Subject,
    body: dict[str, Any],
    *,
    provider: str = "",
    waits: bool = True,
    in_batch: bool = False,
) -> Iterator[Charge]:
    """The charge of this request, to be reserved inside. Begins outside a transaction.

    Raises BudgetSpent and PriceUnknown, and notes what the event waits for if it `waits`.
    """
    try:
        yield replace(plan(event, body, provider, in_batch=in_batch), waits=waits)
    except (BudgetSpent, PriceUnknown) as refusal:
        if waits and isinstance(event, Event):
            note_wait(event, refusal, provider)
        raise


def note_wait(event: Event, refusal: BudgetSpent | PriceUnknown, provider: str) -> None:
    """What a held event waits for."""
    BudgetWait.objects.update_or_create(
        event=event,
        defaults={
            "budget": refusal.budget,
            "needs_micros": refusal.needs_micros,
            "model": refusal.model[:120],
            "provider": provider,
        },
    )


def plan(
    event: Subject, body: dict[str, Any], provider: str = "", *, in_batch: bool = False
) -> Charge:
    """What the request reserves, and where. Raises PriceUnknown."""
    budgets = find_budgets(event.source_id, event.pipeline_id)
    if not budgets:
        return Charge(event)
    model = str(body["model"])
    if not has_price(model, provider):
        raise PriceUnknown(model)
    micros = get_most_micros(body, provider)
    if in_batch:
        micros = to_micros(get_batch_cost_usd(to_usd(micros)))
    return Charge(event, micros, model, open_periods(list(budgets))) if micros else Charge(event)


def find_budgets(source_id: int | None, pipeline_id: int) -> QuerySet[Budget]:
    """All that apply to a call for this source and pipeline."""
    scope = Q(source=None, pipeline=None) | Q(pipeline=pipeline_id)
    if source_id is not None:
        scope |= Q(source=source_id)
    return Budget.objects.filter(scope).select_related("source", "pipeline")


def open_periods(budgets: list[Budget]) -> list[BudgetPeriod]:
    """The period of each that now lies in, in the order in which they are locked."""
    now = timezone.now()
    starts = {budget.pk: budget.get_start(now) for budget in budgets}
    found = find_periods(starts)
    if missing := starts.keys() - found.keys():
        # Another worker may open it at the same moment.
        BudgetPeriod.objects.bulk_create(
            [BudgetPeriod(budget_id=pk, starts_on=starts[pk]) for pk in sorted(missing)],
            ignore_conflicts=True,
        )
        found = find_periods(starts)
    for budget in budgets:
        if budget.pk in found:  # not deleted meanwhile
            found[budget.pk].budget = budget
    return sorted(found.values(), key=lambda period: period.pk)


def find_periods(starts: dict[int, Any]) -> dict[int, BudgetPeriod]:
    """By budget: those that begin on the day that is given for it."""
    rows = BudgetPeriod.objects.filter(budget__in=starts, starts_on__in=set(starts.values()))
    return {row.budget_id: row for row in rows if row.starts_on == starts[row.budget_id]}


def get_most_micros(body: dict[str, Any], provider: str = "") -> int:
    """The most that one request can cost, in millionths of a dollar.

    A token is at least one byte of text, and the JSON around a message is longer than the tokens
    that a provider puts around it: the body's bytes are more than its tokens can be.
    """
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    output_tokens = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return to_micros(get_cost_usd(str(body["model"]), len(text), int(output_tokens), provider))


def settle(call: LLMCall, cost_usd: Decimal, *, was_given_up: bool) -> None:
    """What it did cost, 0 for a refusal, instead of the estimate: that was spent where given up."""
    spent = to_micros(cost_usd)
    if was_given_up:
        _shift(call, reserved=0, spent=spent - call.reserved_micros)
    else:
        _shift(call, reserved=-call.reserved_micros, spent=spent)


def keep_as_spent(call: LLMCall) -> None:
    """Nobody knows whether it was paid: the estimate counts as spent."""
    _shift(call, reserved=-call.reserved_micros, spent=call.reserved_micros)


def _shift(call: LLMCall, *, reserved: int, spent: int) -> None:
    """The periods of the reservation, also where another one has begun since."""
    for pk in sorted(call.reserved_in or ()):
        BudgetPeriod.objects.filter(pk=pk).update(
            reserved_micros=F("reserved_micros") + reserved,
            spent_micros=F("spent_micros") + spent,
        )


def to_micros(usd: Decimal) -> int:
    return int((usd * MICROS).to_integral_value(ROUND_UP))


def to_usd(micros: int) -> Decimal:
    return Decimal(micros) / MICROS
