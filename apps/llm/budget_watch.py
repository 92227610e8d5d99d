"""What happens to budgets by itself: warnings, held events that go on, calls nobody settles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.models import OPEN, Event, Status
from apps.events.workflow_client import start_now
from apps.llm import ledger
from apps.llm.budget_models import ALERT_PERCENT, SPENT_PERCENT
from apps.llm.budget_usage import Usage, get_usages
from apps.llm.budgets import CODES, NO_PRICE
from apps.llm.models import BudgetPeriod, BudgetWait, LLMCall
from apps.llm.pricing import has_price
from workers.contracts import EventRun

EVENTS_A_RUN = 500
EVENTS_AT_ONCE = 100  # while somebody waits for the page
BATCH, BATCHES = 200, 20
# Far more than a call may take: whoever runs the event again settles its call much earlier.
ABANDONED_AFTER = timedelta(hours=2)
logger = logging.getLogger(__name__)


def watch() -> None:
    """One round of everything here."""
    settle_abandoned()
    warn()
    let_go_on()


def settle_abandoned() -> int:
    """Calls under way whose event was discarded since: their estimate counts as spent."""
    old = LLMCall.objects.filter(
        answered_at=None,
        state=LLMCall.State.INTENT,
        reserved_micros__gt=0,
        intended_at__lt=timezone.now() - ABANDONED_AFTER,
    )
    return sum(ledger.lose(call) for call in old[:BATCH] if not ledger.is_under_way(call))


def warn() -> None:
    """Once for each period and level: 80 % used, and events that wait."""
    for usage in get_usages():
        level = SPENT_PERCENT if usage.waiting else min(usage.percent, SPENT_PERCENT)
        level = max((each for each in (ALERT_PERCENT, SPENT_PERCENT) if each <= level), default=0)
        quiet = BudgetPeriod.objects.filter(pk=usage.period.pk, alerted_percent__lt=level)
        if level and quiet.update(alerted_percent=level):
            act = "budget.spent" if level == SPENT_PERCENT else "budget.alert"
            AuditEntry.record(None, act, usage.budget, percent=usage.percent)
            logger.warning("Budget %s: %d %% used.", usage.budget.pk, usage.percent)
            announce("figures")


def let_go_on(count: int = EVENTS_A_RUN) -> int:
    """Let held events go on, oldest first, as far as the money reaches; how many did."""
    going = [event for event in choose(count) if event.go_on()]
    if going:
        # One whose workflow does not start, or has not ended yet, is left to the reconciler.
        start_now([EventRun(event.pk.hex, event.run) for event in going])
        logger.info("%d events that waited for a budget go on.", len(going))
        announce("events", "figures")
    return len(going)


def let_go_on_soon() -> None:
    """Once this transaction is through: a limit was raised, or a budget deleted."""
    transaction.on_commit(lambda: let_go_on(EVENTS_AT_ONCE))


def choose(count: int) -> list[Event]:
    """The oldest that can be paid now, at most `count`."""
    chosen: list[Event] = []
    purse = Purse(get_usages())
    for event in purse.find_held():
        if purse.pays(event):
            chosen.append(event)
            if len(chosen) >= count:
                break
    return chosen


class Purse:
    """What is left of all budgets, while events are chosen that will take of it."""

    def __init__(self, usages: list[Usage]) -> None:
        self.budgets = [usage.budget for usage in usages]
        self.free = {usage.budget.pk: usage.free_micros for usage in usages}
        self.empty: set[int] = set()  # budgets that an older event waits for
        # Those that go on already, and have not reserved it yet.
        going = BudgetWait.objects.filter(event__status__in=OPEN)
        for wait in going.select_related("event__pipeline_version"):
            self._take(wait.event, wait.needs_micros)

    def find_held(self) -> Iterator[Event]:
        """Oldest first; once a budget is empty, no more of those that it applies to."""
        held = Event.objects.filter(status=Status.HELD, error_code__in=CODES)
        held = held.select_related("pipeline_version", "budget_wait")
        rows = held.order_by("received_at", "id")
        later = Q()
        for _ in range(BATCHES):
            batch = list(self._without_empty(rows.filter(later))[:BATCH])
            yield from batch
            if len(batch) < BATCH:
                return
            at, pk = batch[-1].received_at, batch[-1].pk
            later = Q(received_at__gt=at) | Q(received_at=at, pk__gt=pk)

    def pays(self, event: Event) -> bool:
        """Whether all of the event's budgets have what it needs; takes it then."""
        wait = BudgetWait.of(event)
        needs = wait.needs_micros if wait else 0
        mine = [budget for budget in self.budgets if budget.covers(event)]
        if event.error_code == NO_PRICE:
            return not mine or (wait is not None and has_price(wait.model, wait.provider))
        if any(needs > budget.limit_micros for budget in mine):
            return False  # never, at this limit: it must not keep those behind it waiting
        short = {budget.pk for budget in mine if self.free[budget.pk] < needs}
        self.empty |= short
        if any(budget.pk in self.empty for budget in mine):
            return False
        self._take(event, needs)
        return True

    def _take(self, event: Event, micros: int) -> None:
        for budget in self.budgets:
            if budget.covers(event):
                self.free[budget.pk] -= micros

    def _without_empty(self, events: QuerySet[Event]) -> QuerySet[Event]:
        for budget in self.budgets:
            if budget.pk not in self.empty:
                continue
            if budget.source_id:
                events = events.exclude(source=budget.source_id)
            elif budget.pipeline_id:
                events = events.exclude(pipeline_version__pipeline=budget.pipeline_id)
            else:
                return events.none()
        return events
