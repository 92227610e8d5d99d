"""Approve, edit, reject, or let the time run out: the row, the event, the audit and the workflow.

The database decides. Row and event change in one transaction, the row by one conditional UPDATE:
of two people one wins, and the other is told by whom it was decided. The workflow is told after
the commit, by a signal that says nothing but "look"; where that is lost, the reconciler repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from django.db import transaction
from django.utils import timezone
from prometheus_client import Counter

from apps.accounts.models import User
from apps.approvals.models import Approval, Decision
from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.models import Event
from apps.events.workflow_client import nudge_soon
from apps.llm.output import UnfitAnswer, read_answer
from apps.pipelines.approval import OnTimeout

DECIDED = Counter("pipeline_approvals_decided", "Answers decided on, by decision", ["decision"])
REJECTED, EXPIRED = "rejected", "approval_expired"
Verb = Literal["approve", "reject"]


class AlreadyDecided(Exception):
    """Somebody was faster, or the time ran out; `str()` says who and what. Nothing was changed."""

    code = "already_decided"
    permanent = True
    retry_after_s: float | None = None


class Moved(Exception):
    """The event was no more held for this, so that the decision is undone with the transaction."""


def approve(approval: Approval, actor: User, note: str = "") -> None:
    """Let the answer be delivered as it is. Raises AlreadyDecided."""
    _decide(approval, Decision.APPROVED, actor, note)


def edit(approval: Approval, text: str, actor: User, note: str = "") -> None:
    """Let `text` be delivered in place of the answer: JSON by the schema, where there is one.

    Raises UnfitAnswer, then nothing has happened yet, and AlreadyDecided.
    """
    answer = read_answer(text, approval.event.pipeline_version.output_schema)
    _decide(approval, Decision.EDITED, actor, note, edited_answer=answer)


def edit_json(approval: Approval, answer: Any, actor: User, note: str = "") -> None:
    """As `edit`, of JSON that was read already."""
    if approval.event.pipeline_version.output_schema:
        edit(approval, json.dumps(answer), actor, note)
    elif isinstance(answer, str):
        edit(approval, answer, actor, note)
    else:
        raise UnfitAnswer("answer_not_text", "The pipeline has no schema: its answer is a text.")


def reject(approval: Approval, actor: User, note: str = "") -> None:
    """Deliver nothing: the event is discarded. Raises AlreadyDecided."""
    _decide(approval, Decision.REJECTED, actor, note)


def expire(approval: Approval) -> bool:
    """Do what the pipeline says where nobody decides in time; False where it is not due."""
    try:
        with transaction.atomic():
            if not approval.expire():
                return False
            on_timeout = approval.terms.on_timeout
            _move_on(approval, None)
            _record(approval, None, "approval.expire", then=on_timeout.value)
    except Moved:
        return False
    return True


def reject_held(event: Event, actor: User) -> bool:
    """Discarding an event that is held for approval is rejecting its answer."""
    approval = find_waiting(event)
    if approval is None:
        return False
    try:
        reject(approval, actor)
    except AlreadyDecided:
        return False
    event.refresh_from_db()
    return True


def find_waiting(event: Event) -> Approval | None:
    """The row that the event waits for."""
    rows = Approval.objects.filter(event=event, run=event.run, decision=Decision.WAITING)
    return rows.select_related("event__pipeline_version").first()


@dataclass(frozen=True)
class Outcome:
    """How many were decided on, and how many somebody else had decided on before."""

    done: int
    too_late: int


def decide_all(approvals: Iterable[Approval], verb: Verb, actor: User, note: str = "") -> Outcome:
    """One after the other, each by itself: a crash in the middle leaves none half decided."""
    done = too_late = 0
    for approval in approvals:
        try:
            (approve if verb == "approve" else reject)(approval, actor, note)
            done += 1
        except AlreadyDecided:
            too_late += 1
    return Outcome(done, too_late)


def _decide(approval: Approval, decision: Decision, actor: User, note: str, **fields: Any) -> None:
    verb = {Decision.APPROVED: "approve", Decision.EDITED: "edit"}.get(decision, "reject")
    try:
        with transaction.atomic():
            if not approval.decide(decision, actor, note, **fields):
                raise Moved
            _move_on(approval, actor)
            _record(approval, actor, f"approval.{verb}")
    except Moved:
        raise AlreadyDecided(describe(approval)) from None


def _move_on(approval: Approval, actor: User | None) -> None:
    """Change the event as was decided. Raises Moved."""
    event = approval.event
    if approval.lets_go_on:
        moved = event.release(approval.final_answer)
    elif actor:
        moved = event.reject(REJECTED, _with_note(f"Rejected by {actor}", approval.note))
    elif approval.terms.on_timeout == OnTimeout.DISCARD:
        moved = event.reject(EXPIRED, _tell_expired(approval))
    else:
        moved = event.fail(EXPIRED, _tell_expired(approval))
    if not moved:
        raise Moved


def _record(approval: Approval, actor: User | None, action: str, **details: Any) -> None:
    event, decision = approval.event, approval.decision
    details |= {"run": approval.run, "approval": approval.public_id}
    AuditEntry.record(actor, action, event, **details)

    def tell() -> None:
        DECIDED.labels(decision=str(decision)).inc()
        announce("events", "figures", "approvals")
        nudge_soon(event)

    transaction.on_commit(tell)


def _tell_expired(approval: Approval) -> str:
    hours = approval.terms.timeout_h
    return f"Nobody decided on the answer within {hours} hour{'s' if hours > 1 else ''}."


def _with_note(text: str, note: str) -> str:
    return f"{text}: {note}" if note else f"{text}."


def describe(approval: Approval) -> str:
    """For whoever comes too late, by what the database says now."""
    now = Approval.objects.select_related("event").get(pk=approval.pk)
    if now.is_waiting and now.deadline <= timezone.now():
        return "The time to decide has run out. Nothing was changed."
    if now.is_waiting:
        return f"The event is {now.event.status} by now: there is nothing to decide."
    if now.decision == Decision.EXPIRED:
        return "Nobody decided in time, so it was decided by the pipeline. Nothing was changed."
    label = {"edited": "edited and approved"}.get(now.decision, now.decision)
    return f"Already {label} by {now.decided_by_name}. Nothing was changed."
