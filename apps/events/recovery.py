"""Retry and discard as a person does them: the verb of the model, and a line in the audit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.models import User
from apps.approvals.deciding import reject_held
from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.models import FOR_APPROVAL, RETRYABLE, Event
from apps.streams.buried import Unburied, unbury

Verb = Literal["retry", "discard"]
PERMISSIONS: dict[str, str] = {"retry": "events.retry_event", "discard": "events.discard_event"}
BATCH = 100


@dataclass(frozen=True)
class Outcome:
    """How many events were moved, and how many somebody else had moved before."""

    done: int
    too_late: int


def recover(event: Event, verb: Verb, actor: User) -> bool:
    """Retry or discard one event; False where it is neither dead nor held any more.

    Discarding one that is held for approval rejects its answer. It can't be retried.
    """
    if verb == "discard" and event.is_held_for_approval:
        return reject_held(event, actor)
    with transaction.atomic():
        moved = event.retry() if verb == "retry" else event.discard()
        if moved:
            AuditEntry.record(actor, f"event.{verb}", event, run=event.run)
    if moved:
        announce("events", "figures")
    return moved


def recover_all(events: Iterable[Event], verb: Verb, actor: User) -> Outcome:
    """One after the other, each by itself: a crash in the middle leaves no event half moved."""
    results = [recover(event, verb, actor) for event in events]
    return Outcome(done=sum(results), too_late=len(results) - sum(results))


def unbury_all(actor: User) -> Unburied:
    """Give the entries that could not be stored to the dispatcher again; raises QueueError."""
    outcome = unbury()
    AuditEntry.objects.create(
        actor=actor,
        actor_name=actor.get_username(),
        action="queue.unbury",
        object_type="queue",
        object_id="dead",
        details={"entries": outcome.given},
    )
    return outcome


def get_waiting(events: QuerySet[Event], until: datetime) -> QuerySet[Event]:
    """Those that were dead or held at `until`: one that dies again is not taken a second time.

    Not those held for approval: each answer is looked at before it is decided on.
    """
    waiting = events.filter(status__in=RETRYABLE, changed_at__lte=until).exclude(FOR_APPROVAL)
    return waiting.order_by("changed_at", "id")
