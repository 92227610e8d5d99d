"""Events whose calls are in no batch any more go on, and so do those held for what is known now.

Asked anew each time, and of the database: an answer that came while its event was just being
parked, or held, wakes it in the next round, and so does one whose reader was killed.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.dashboard.live import announce
from apps.events.models import Event, Status
from apps.events.workflow_client import start_now
from apps.llm.budgets import CODES
from apps.llm.models import BudgetWait, LLMCall
from apps.llm.provider import OutcomeUnknown
from workers.contracts import EventRun

LEAST_A_ROUND = 50
State = LLMCall.State
logger = logging.getLogger(__name__)


def wake() -> int:
    """Let those go on that can, a few at a time; how many did."""
    in_batch = LLMCall.objects.filter(event=OuterRef("pk"), state=LLMCall.State.BATCH)
    ready = Event.find_parked().filter(~Exists(in_batch)).order_by("waiting_until", "pk")
    going = [event for event in ready[: get_room()] if event.wake()]
    if going:
        # One whose workflow does not start, or has not ended yet, is left to the reconciler.
        start_now([EventRun(event.pk.hex, event.run) for event in going])
        logger.info("%d events that waited in a batch go on.", len(going))
        announce("events", "figures")
    return len(going)


def let_known_go_on() -> int:
    """Held events that nobody needs to wait for, since a late line has told of their calls.

    Those held for an unknown outcome: with an answer that can be used, or with no call left of
    which nothing is known (one that was not paid is made again). Those held by a budget: with an
    answer, as it costs nothing any more. Whoever was marked as failed or discarded stays so.
    """
    going = [event for event in find_known()[:LEAST_A_ROUND] if event.go_on()]
    if going:
        BudgetWait.objects.filter(event__in=going).delete()
        start_now([EventRun(event.pk.hex, event.run) for event in going])
        logger.info("%d held events go on: a batch has told of their calls.", len(going))
        announce("events", "figures")
    return len(going)


def find_known() -> QuerySet[Event]:
    """Held events whose step would not ask again what nobody knows."""
    calls = LLMCall.objects.own().filter(event=OuterRef("pk"))
    has_answer = Exists(calls.filter(state=State.ANSWERED, problem=""))
    has_open = Exists(calls.filter(state__in=(State.UNKNOWN, State.INTENT, State.BATCH)))
    for_unknown = Q(error_code=OutcomeUnknown.code) & (has_answer | ~has_open)
    for_budget = Q(error_code__in=CODES) & has_answer
    in_batches = Exists(calls.filter(batch__isnull=False))
    held = Event.objects.filter(in_batches, for_unknown | for_budget, status=Status.HELD)
    return held.order_by("received_at", "pk")


def get_room() -> int:
    """Half of what may run at once is left to events that came in just now."""
    half = settings.OPEN_WORKFLOWS_MAX // 2
    return max(LEAST_A_ROUND, half - Event.count_active(half))
