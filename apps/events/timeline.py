"""What happened to one event, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.approvals.models import Approval, Decision
from apps.events.models import Attempt, Event, Status, Step
from apps.llm.budgets import CODES

TONES = {
    "ok": "success",
    "reused": "success",
    "failed": "warning",
    "waited": "info",
    "held": "warning",
    "permanent": "danger",
}
ENDS = {
    Status.DELIVERED: ("Delivered", "success"),
    Status.FILTERED: ("Filtered: the pipeline does not want it", "muted"),
    Status.DISCARDED: ("Discarded", "muted"),
    Status.DEAD: ("Dead letter", "danger"),
    Status.HELD: ("Held: waits for a person", "warning"),
    Status.RUNNING: ("Running", "info"),
    Status.QUEUED: ("Waits in the queue", "info"),
}


@dataclass(frozen=True)
class Moment:
    """One line: `waited` is the time since the try before it, `took` how long it lasted."""

    title: str
    tone: str
    at: datetime
    detail: str = ""
    took: timedelta | None = None
    waited: timedelta | None = None
    note: str = ""


def build_timeline(
    event: Event, attempts: Sequence[Attempt], approvals: Sequence[Approval] = ()
) -> list[Moment]:
    """Received, then every attempt (a new run says so), then where the event stands now."""
    moments = [Moment("Received", "success", event.received_at, "Stored and acknowledged")]
    before: Attempt | None = None
    run = 1
    for attempt in attempts:
        if attempt.run != run:
            title = f"Retried by a person: run {attempt.run}"
            moments.append(Moment(title, "info", attempt.started_at))
        moments.append(_get_moment(attempt, before))
        before, run = attempt, attempt.run
    decided = [moment for approval in approvals for moment in _get_decision(approval)]
    moments[1:] = sorted(moments[1:] + decided, key=lambda moment: moment.at)
    title, tone = ENDS[Status(event.status)]
    if event.is_held_for_approval:
        title = "Held: waits for approval"
    if event.status == Status.HELD and event.error_code in CODES:
        title = "Held: waits for a budget"
    if event.is_parked:
        title = "Waits in a batch"
    moments.append(Moment(title, tone, event.finished_at or event.changed_at, event.error))
    return moments


def _get_decision(approval: Approval) -> list[Moment]:
    """Held, and by whom it was decided; one that still waits is how the event stands now."""
    if approval.decided_at is None:
        return []
    tone = "success" if approval.lets_go_on else "danger"
    who = f" by {approval.decided_by_name}" if approval.decided_by_name else ""
    label = Decision(approval.decision).label
    return [
        Moment("Held for approval", "warning", approval.held_at, approval.reason),
        Moment(f"{label}{who}", tone, approval.decided_at, approval.note),
    ]


def _get_moment(attempt: Attempt, before: Attempt | None) -> Moment:
    is_again = before is not None and (before.run, before.step) == (attempt.run, attempt.step)
    return Moment(
        title=f"{Step(attempt.step).label}, attempt {attempt.number}",
        tone=TONES[attempt.outcome],
        at=attempt.started_at,
        detail=attempt.error,
        took=attempt.finished_at - attempt.started_at,
        waited=attempt.started_at - before.finished_at if before and is_again else None,
        note=Attempt.Outcome(attempt.outcome).label,
    )
