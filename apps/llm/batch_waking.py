"""Events whose calls are in no batch any more go on.

Asked anew each time, and of the database: an answer that came while its event was just being
parked wakes it in the next round, and so does one whose reader was killed.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db.models import Exists, OuterRef

from apps.dashboard.live import announce
from apps.events.models import Event
from apps.events.workflow_client import start_now
from apps.llm.models import LLMCall
from workers.contracts import EventRun

LEAST_A_ROUND = 50
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


def get_room() -> int:
    """Half of what may run at once is left to events that came in just now."""
    half = settings.OPEN_WORKFLOWS_MAX // 2
    return max(LEAST_A_ROUND, half - Event.count_active(half))
