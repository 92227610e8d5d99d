"""Entries under a key that another event has: the same event again, or another body."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import prometheus_client
from django.db.models import Q

from apps.events.models import Event, EventAlias, EventBody, EventConflict
from apps.events.payload import get_digest
from apps.streams.entries import Entry

KEPT_CONFLICTS = 20  # for each event; a few more where dispatchers store at the same moment
DUPLICATES = prometheus_client.Counter(
    "pipeline_event_duplicates", "Entries that the database knew under another id"
)
CONFLICTS = prometheus_client.Counter(
    "pipeline_event_conflicts", "Other bodies under the id of an event", ["outcome"]
)

for outcome in ("kept", "dropped"):
    CONFLICTS.labels(outcome)  # shown as 0 from the start, so that an alert sees the first
logger = logging.getLogger(__name__)

Key = tuple[int, str]  # source and idempotency key


@dataclass
class Duplicates:
    """What became of them. Every entry is in one list."""

    same: list[Entry] = field(default_factory=list)  # its body is there: as the event, or kept
    kept: list[Entry] = field(default_factory=list)  # another body, now kept as a conflict
    dropped: list[Entry] = field(default_factory=list)  # another body, beyond KEPT_CONFLICTS
    strange: list[Entry] = field(default_factory=list)  # no event has its key

    def count(self) -> None:
        """Into the metrics, once the transaction is through."""
        DUPLICATES.inc(len(self.same))
        CONFLICTS.labels("kept").inc(len(self.kept))
        CONFLICTS.labels("dropped").inc(len(self.dropped))
        if self.dropped:
            first = self.dropped[0]
            logger.warning(
                "%d bodies came under ids that have %d others already and were not kept; "
                "the first is of source %d: does it give every event the same id?",
                len(self.dropped),
                KEPT_CONFLICTS,
                first.source_id,
            )


@dataclass(frozen=True)
class First:
    """The event that has the key, and the digest of its body; '' where nobody knows it."""

    id: UUID
    body_sha256: str


def keep(entries: Sequence[Entry], secret_ids: Container[int]) -> Duplicates:
    """Keep what is new about each: its id, or its body. Part of the batch's transaction.

    The event that has the key is there already, and stays until this transaction ends or breaks
    it: no other dispatcher can decide otherwise about which body was the first.
    """
    found = Duplicates()
    firsts = _find_firsts(entries) if entries else {}
    aliases: list[EventAlias] = []
    others: list[EventConflict] = []
    by_row: dict[UUID, Entry] = {}
    for entry in entries:
        first = firsts.get((entry.source_id, entry.key))
        if first is None:
            found.strange.append(entry)
            continue
        conflict = _build_conflict(entry, first, secret_ids)
        if conflict.sha256 == first.body_sha256 or not first.body_sha256:
            found.same.append(entry)
            aliases.append(
                EventAlias(id=conflict.id, event_id=first.id, received_at=conflict.received_at)
            )
        else:
            others.append(conflict)
            by_row[conflict.id] = entry
    EventAlias.objects.bulk_create(aliases, ignore_conflicts=True)
    _keep_others(others, by_row, found)
    return found


def _find_firsts(entries: Iterable[Entry]) -> dict[Key, First]:
    keys: dict[int, set[str]] = {}
    for entry in entries:
        keys.setdefault(entry.source_id, set()).add(entry.key)
    wanted = Q()
    for source_id, names in keys.items():
        wanted |= Q(source_id=source_id, idempotency_key__in=names)
    rows = Event.objects.filter(wanted).order_by()
    return {
        (source_id, key): First(pk, digest or _read_digest(pk))
        for pk, source_id, key, digest in rows.values_list(
            "pk", "source_id", "idempotency_key", "body_sha256"
        )
    }


def _read_digest(event_id: UUID) -> str:
    """Of an event that an older release stored: from its body."""
    raw = EventBody.objects.filter(pk=event_id).values_list("raw", flat=True).first()
    return get_digest(bytes(raw)) if raw is not None else ""


def _build_conflict(entry: Entry, first: First, secret_ids: Container[int]) -> EventConflict:
    return EventConflict(
        id=UUID(entry.event_id),
        event_id=first.id,
        received_at=datetime.fromtimestamp(entry.received_ms / 1000, UTC),
        event_type=entry.event_type[:200],
        content_type=entry.content_type[:100],
        raw=entry.body,
        sha256=get_digest(entry.body),
        secret_id=entry.secret_id if entry.secret_id in secret_ids else None,
    )


def _keep_others(
    others: Sequence[EventConflict], by_row: dict[UUID, Entry], found: Duplicates
) -> None:
    """Each body once, up to KEPT_CONFLICTS for an event."""
    if not others:
        return
    events = {conflict.event_id for conflict in others}
    rows = EventConflict.objects.filter(event_id__in=events).order_by()
    known = set(rows.values_list("event_id", "sha256"))
    counts = Counter(event_id for event_id, _ in known)
    new: list[EventConflict] = []
    for conflict in others:
        entry, body = by_row[conflict.id], (conflict.event_id, conflict.sha256)
        if body in known:
            found.same.append(entry)
        elif counts[conflict.event_id] >= KEPT_CONFLICTS:
            found.dropped.append(entry)
        else:
            known.add(body)
            counts[conflict.event_id] += 1
            new.append(conflict)
            found.kept.append(entry)
    EventConflict.objects.bulk_create(new, ignore_conflicts=True)
