"""What a person sees of an event's conflicts, and how they make events of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.differences import Comparison, compare
from apps.events.models import Event, EventConflict, KeyTaken
from apps.events.recovery import Outcome


@dataclass(frozen=True)
class ShownConflict:
    """One other body and how it differs from the event's own."""

    conflict: EventConflict
    size_bytes: int
    comparison: Comparison


def show_conflicts(event: Event, body: bytes) -> list[ShownConflict]:
    """All conflicts of the event, the first that came first."""
    conflicts = event.conflicts.select_related("secret").defer("secret__value")
    return [
        ShownConflict(conflict, len(conflict.raw), compare(body, bytes(conflict.raw)))
        for conflict in conflicts
    ]


def process(conflict: EventConflict, actor: User) -> bool:
    """Make it an event of its own; False where it is one already. Raises KeyTaken."""
    with transaction.atomic():
        is_new = conflict.process()
        if is_new:
            made = {"made": conflict.public_id}
            AuditEntry.record(actor, "event.process_conflict", conflict.event, **made)
    if is_new:
        announce("events", "figures")
    return is_new


def process_all(conflicts: Iterable[EventConflict], actor: User) -> Outcome:
    """One after the other, each by itself; one whose key is taken stays as it is."""
    done = too_late = 0
    for conflict in conflicts:
        try:
            is_new = process(conflict, actor)
        except KeyTaken:
            is_new = False
        done, too_late = done + is_new, too_late + (not is_new)
    return Outcome(done, too_late)
