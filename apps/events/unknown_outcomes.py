"""An event held because nobody knows whether its call was paid: what a person can do about it.

Calling again is a retry. The two others are here: give it up as failed, or look the answer up
where the provider keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from django.db import transaction

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.models import APPROVAL, QUARANTINED, Event, Status
from apps.events.workflow_client import start_soon
from apps.llm.budgets import CODES
from apps.llm.lookup import look_up
from apps.llm.models import LLMCall

MARKED_FAILED = "marked_failed"
REASON = "Marked as failed by a person: nobody knows whether the call was paid."


class LookUp(StrEnum):
    """What came of looking."""

    FOUND = "found"  # on record; the event goes on
    NOT_FOUND = "not_found"  # the event stays held
    TOO_LATE = "too_late"  # it was not held for this any more


def is_unknown(event: Event, calls: Iterable[LLMCall] | None = None) -> bool:
    """Whether the event is held for a call of unknown outcome."""
    if event.status != Status.HELD or event.error_code in (APPROVAL, QUARANTINED, *CODES):
        return False
    calls = event.llm_calls.own() if calls is None else calls
    return any(call.state in (LLMCall.State.UNKNOWN, LLMCall.State.INTENT) for call in calls)


def mark_failed(event: Event, actor: User) -> bool:
    """Make a dead letter of it; False where it is not held for this any more."""
    if not is_unknown(event):
        return False
    with transaction.atomic():
        moved = event.fail(MARKED_FAILED, REASON)
        if moved:
            AuditEntry.record(actor, "event.fail", event, run=event.run)
    if moved:
        announce("events", "figures")
    return moved


def look_up_answer(event: Event, actor: User) -> LookUp:
    """Ask the provider; an answer that it kept is put on record, and the event goes on with it.

    In the same run: what was found counts as the call's answer, whatever it is worth. Raises
    NotKept and LLMError; must not run inside a transaction.
    """
    if not is_unknown(event):
        return LookUp.TOO_LATE
    is_found = look_up(event)
    with transaction.atomic():
        moved = is_found and event.go_on()
        outcome = _get_outcome(is_found, moved)
        AuditEntry.record(actor, "event.look_up", event, run=event.run, outcome=outcome.value)
        if moved:
            transaction.on_commit(lambda: start_soon(event))
    if moved:
        announce("events", "figures")
    return outcome


def _get_outcome(is_found: bool, moved: bool) -> LookUp:
    if not is_found:
        return LookUp.NOT_FOUND
    return LookUp.FOUND if moved else LookUp.TOO_LATE
