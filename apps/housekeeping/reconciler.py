"""Compares database and Temporal, and starts again what fell between them.

An open event whose workflow is not open was never started (Temporal was down), or was lost with
Temporal's store. Starting its run again is safe: the ledger keeps it from paying twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from apps.events.models import Event
from apps.events.workflow_client import WorkflowsDown, find_running, start_now
from workers.contracts import EventRun

STALLED_AFTER = timedelta(seconds=20)
EVENTS_A_RUN = 500
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reconciled:
    """How many stalled events were looked at, and how many of them got a workflow again."""

    looked_at: int = 0
    started: int = 0


def reconcile(stalled_after: timedelta = STALLED_AFTER) -> Reconciled:
    """One bounded round; those that were looked at go to the end of the line."""
    events = Event.find_stalled(timezone.now() - stalled_after, EVENTS_A_RUN)
    if not events:
        return Reconciled()
    try:
        running = find_running([event.workflow_id for event in events])
    except WorkflowsDown as error:
        logger.warning("Temporal does not answer (%s): %d events wait.", error, len(events))
        return Reconciled()
    lost = [event for event in events if not running[event.workflow_id]]
    started = start_now([EventRun(event.id.hex, event.run) for event in lost])
    Event.mark_running([UUID(run.event_id) for run in started])
    Event.note_looked_at([event.pk for event in events])
    if started:
        logger.warning("%d events had no workflow: started again.", len(started))
    return Reconciled(len(events), len(started))
