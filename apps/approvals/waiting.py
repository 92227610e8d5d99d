"""What the workflow asks: is there a decision, or how long is there still to wait?"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from apps.approvals.deciding import expire
from apps.approvals.models import Approval
from apps.events.models import Event
from apps.pipelines.approval import find_reason, read_approval
from apps.pipelines.payload import read_payload
from workers.contracts import StepResult, Verdict

HOUR = timedelta(hours=1)
LEAST_WAIT_S = 1.0
GONE = StepResult(Verdict.GONE)


def find_hold(event: Event, answer: object) -> str:
    """Why a person must see the answer first; empty where nobody must. Needs version and body."""
    approval = read_approval(event.pipeline_version.approval)
    if not approval:
        return ""

    def read_event() -> object:
        return read_payload(bytes(event.body.raw), event.body.content_type)

    return find_reason(approval, answer, read_event)


def hold(event: Event, answer: object, reason: str) -> Approval:
    """Note that the answer waits. In the transaction in which the event is held."""
    now = timezone.now()
    hours = read_approval(event.pipeline_version.approval).timeout_h
    return Approval.objects.create(
        event=event,
        run=event.run,
        answer=answer,
        reason=reason[:500],
        held_at=now,
        deadline=now + hours * HOUR,
    )


def settle(event_id: UUID, run: int) -> StepResult:
    """Go on (DONE), wait (APPROVAL, and how long), or stop (GONE). Acts where the time is up."""
    approval = find(event_id, run)
    if approval is None:
        return GONE
    if approval.is_waiting and approval.deadline <= timezone.now():
        expire(approval)
        approval = find(event_id, run)
        if approval is None:
            return GONE
    if approval.is_waiting:
        left_s = (approval.deadline - timezone.now()).total_seconds()
        return StepResult(Verdict.APPROVAL, retry_after_s=max(left_s, LEAST_WAIT_S))
    approval.notice()
    return StepResult(Verdict.DONE if approval.lets_go_on else Verdict.GONE)


def find(event_id: UUID, run: int) -> Approval | None:
    rows = Approval.objects.filter(event=event_id, run=run)
    return rows.select_related("event__pipeline_version").first()
