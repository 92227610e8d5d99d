"""What no workflow has done with an answer that was held: the database is the authority.

A time that has run out without a workflow to see it (lost with Temporal's store) runs out here. A
decision that a workflow does not know (its signal was lost) is told again, and a workflow started
where there is none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from apps.approvals.deciding import expire
from apps.approvals.models import Approval, Decision
from apps.events.workflow_client import start_now
from workers.contracts import DECIDED, EventRun

STALLED_AFTER = timedelta(seconds=20)
TOLD_AGAIN_AFTER = timedelta(minutes=10)  # while no worker is there to listen
ROWS_A_RUN = 500
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """How many ran out of time here, and how many workflows were told of a decision."""

    expired: int = 0
    told: int = 0


def watch(stalled_after: timedelta = STALLED_AFTER) -> Watched:
    """One bounded round."""
    expired = _expire(stalled_after)
    told = _tell(stalled_after)
    if expired or told:
        logger.warning("Approvals: %d ran out of time, %d workflows told.", expired, told)
    return Watched(expired, told)


def _expire(stalled_after: timedelta) -> int:
    due = Approval.objects.filter(
        decision=Decision.WAITING, deadline__lte=timezone.now() - stalled_after
    )
    rows = due.select_related("event__pipeline_version").order_by("deadline")[:ROWS_A_RUN]
    return sum(expire(approval) for approval in rows)


def _tell(stalled_after: timedelta) -> int:
    now = timezone.now()
    untold = Q(told_at=None) | Q(told_at__lte=now - TOLD_AGAIN_AFTER)
    unknown = Approval.objects.filter(
        untold, noticed_at=None, decided_at__lte=now - stalled_after
    ).order_by("decided_at")
    by_run = {
        EventRun(event_id.hex, run): pk
        for pk, event_id, run in unknown.values_list("pk", "event_id", "run")[:ROWS_A_RUN]
    }
    told = start_now(list(by_run), DECIDED) if by_run else []
    Approval.objects.filter(pk__in=[by_run[run] for run in told]).update(told_at=now)
    return len(told)
