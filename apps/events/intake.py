"""Entries of the queue become events: one transaction for a batch, each event once."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    transaction,
)

from apps.dashboard.live import announce
from apps.events import duplicates
from apps.events.duplicates import Duplicates
from apps.events.models import Event, EventBody, Status
from apps.sources.models import USE_NOTED_AFTER, Secret, Source
from apps.streams.entries import Entry
from workers.contracts import EventRun

# What one entry can do to a statement: a value that the database or its driver refuses.
REFUSALS = (DataError, IntegrityError, ValueError, OverflowError)
# What no entry can do: a server that is gone, full or read-only, a table that is not there now.
AWAY = (
    OperationalError,
    InterfaceError,
    InternalError,
    ProgrammingError,
    NotSupportedError,
)


class DatabaseAway(Exception):
    """The database does not answer: the same batch may be stored later."""

    code = "database_down"
    permanent = False
    retry_after_s = 2.0


class NoSuchSource(Exception):
    """The source, or its pipeline, is gone: these events have no place any more."""

    code = "no_such_source"
    permanent = True
    retry_after_s: float | None = None


@dataclass
class Intake:
    """What became of a batch. Every entry is in one of `settled`, `refused` and `failed`."""

    settled: list[Entry] = field(default_factory=list)  # the database has it: forget it
    refused: list[tuple[Entry, str]] = field(default_factory=list)  # never: with the reason's word
    failed: list[Entry] = field(default_factory=list)  # not this time: it comes again
    to_start: list[EventRun] = field(default_factory=list)  # no workflow has begun yet

    def add(self, other: Self) -> None:
        self.settled += other.settled
        self.refused += other.refused
        self.failed += other.failed
        self.to_start += other.to_start


def store(entries: Sequence[Entry]) -> Intake:
    """Store a batch; where one entry spoils it, halve it until that one is alone.

    Raises DatabaseAway, with nothing stored.
    """
    if not entries:
        return Intake()
    try:
        return _store(entries)
    except AWAY as error:
        raise DatabaseAway from error
    except REFUSALS:
        if len(entries) == 1:
            return Intake(failed=list(entries))
    middle = len(entries) // 2
    intake = store(entries[:middle])
    intake.add(store(entries[middle:]))
    return intake


def _store(entries: Sequence[Entry]) -> Intake:
    versions = _find_versions({entry.source_id for entry in entries})
    intake = Intake()
    known: list[Entry] = []
    for entry in entries:
        if entry.source_id in versions:
            known.append(entry)
        else:
            intake.refused.append((entry, NoSuchSource.code))
    secrets = _find_secrets(known)
    with transaction.atomic():
        Event.objects.bulk_create(
            [_build_event(entry, versions, secrets) for entry in known], ignore_conflicts=True
        )
        stored = _find_stored(known)
        EventBody.objects.bulk_create(
            [_build_body(entry) for entry in known if UUID(entry.event_id) in stored],
            ignore_conflicts=True,
        )
        others = duplicates.keep(
            [entry for entry in known if UUID(entry.event_id) not in stored], secrets
        )
        _note_uses(known, secrets)
    _sort(known, stored, others, intake)
    others.count()
    if intake.to_start or others.kept or any(entry.quarantine for entry in known):
        announce("events")
    return intake


def _find_versions(source_ids: Iterable[int]) -> Mapping[int, int]:
    """The version that new events of each source start with."""
    sources = Source.objects.filter(pk__in=source_ids, pipeline__current_version__isnull=False)
    return {
        source_id: version_id
        for source_id, version_id in sources.values_list("pk", "pipeline__current_version")
        if version_id is not None
    }


def _find_secrets(entries: Iterable[Entry]) -> Mapping[int, datetime | None]:
    """When each secret of the batch was last used; one that was deleted meanwhile is not there."""
    ids = {entry.secret_id for entry in entries if entry.secret_id is not None}
    if not ids:
        return {}
    return dict(Secret.objects.filter(pk__in=ids).values_list("pk", "last_used_at"))


def _note_uses(entries: Iterable[Entry], secrets: Mapping[int, datetime | None]) -> None:
    """Note the newest use of each secret where that says something new, in the order of their
    numbers: so two dispatchers never wait for each other."""
    newest: dict[int, int] = {}
    for entry in entries:
        if entry.secret_id is not None and entry.secret_id in secrets:
            newest[entry.secret_id] = max(newest.get(entry.secret_id, 0), entry.received_ms)
    for pk, received_ms in sorted(newest.items()):
        last, at = secrets[pk], _get_time(received_ms)
        if last is None or at - last > USE_NOTED_AFTER:
            Secret.note_use(pk, at)


def _build_event(entry: Entry, versions: Mapping[int, int], secret_ids: Container[int]) -> Event:
    return Event.from_body(
        entry.body,
        quarantine=entry.quarantine,
        id=UUID(entry.event_id),
        source_id=entry.source_id,
        pipeline_version_id=versions[entry.source_id],
        idempotency_key=entry.key,
        event_type=entry.event_type[:200],
        received_at=_get_time(entry.received_ms),
        secret_id=entry.secret_id if entry.secret_id in secret_ids else None,
    )


def _get_time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _build_body(entry: Entry) -> EventBody:
    return EventBody(
        event_id=UUID(entry.event_id), raw=entry.body, content_type=entry.content_type[:100]
    )


def _find_stored(entries: Sequence[Entry]) -> dict[UUID, str]:
    """Status of the events that are there under the id they were acknowledged with."""
    events = Event.objects.filter(pk__in=[UUID(entry.event_id) for entry in entries])
    return dict(events.order_by().values_list("pk", "status"))


def _sort(
    entries: Sequence[Entry], stored: Mapping[UUID, str], others: Duplicates, intake: Intake
) -> None:
    """Stored or known: settled, and started unless it was already. Neither: not this time."""
    # "Ignore conflicts" also ignores, on SQLite, a row that breaks another constraint.
    intake.failed += others.strange
    strange = {entry.id for entry in others.strange}
    for entry in entries:
        if entry.id in strange:
            continue
        intake.settled.append(entry)
        if stored.get(UUID(entry.event_id)) == Status.QUEUED:
            intake.to_start.append(EventRun(entry.event_id, run=1))
