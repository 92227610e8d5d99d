"""Verifies a refused request again, with the source as it is now, and takes it in.

It goes the way of every event: the same checks, the same dedup key, the same script on the queue
server. Its time is the time it was received, so that a mended secret is enough for yesterday's
request; a replay stays a duplicate, by the provider's event id or the body's hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import transaction

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.live import announce
from apps.events.models import Event
from apps.events.payload import get_digest
from apps.ingest.certificates import certificates
from apps.ingest.entry import NewEntry, admit
from apps.ingest.models import RefusedRequest
from apps.ingest.peer import read_address
from apps.ingest.refusals import Refusal, SourceBroken
from apps.ingest.refused_content import unpack
from apps.ingest.refused_writing import explain_refusal
from apps.ingest.registry import CompiledSource, read_source
from apps.sources.schemes import CertificateUnavailable, Request, SignatureRefused
from apps.streams.adding import add
from apps.streams.errors import QueueError

BATCH = 100


class StillRefused(Exception):
    """It does not pass with the source as it is now: the text is the reason in plain words."""

    permanent = True
    retry_after_s: float | None = None

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Outcome(Enum):
    """What became of one."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the event had come another way: nothing new was made
    TOO_LATE = "too_late"  # somebody had accepted or discarded it before


@dataclass
class Summary:
    """What became of many. `stopped` is why the rest was not tried, '' where all were."""

    accepted: int = 0
    duplicates: int = 0
    too_late: int = 0
    still_refused: Counter[str] = field(default_factory=Counter)  # by code
    stopped: str = ""

    def add(self, outcome: Outcome) -> None:
        self.accepted += outcome is Outcome.ACCEPTED
        self.duplicates += outcome is Outcome.DUPLICATE
        self.too_late += outcome is Outcome.TOO_LATE


class Acceptance:
    """One look at the sources, for one or many requests."""

    def __init__(self) -> None:
        self._sources: dict[int, CompiledSource | None] = {}

    def verify(self, refused: RefusedRequest) -> NewEntry:
        """The entry that it would be. Raises StillRefused, VaultError."""
        source = self._find(refused)
        request = self._open(refused)
        try:
            if source.rules.addresses and source.gate:
                source.gate.check_address(read_address(refused.address))
            return self._admit(source, request, refused)
        except SignatureRefused as error:
            reason = explain_refusal(source.row, request, error)
            raise StillRefused(error.code, reason) from None
        except Refusal as error:
            raise StillRefused(error.code, error.detail) from None

    def count_passing(self, requests: Iterable[RefusedRequest]) -> tuple[int, Counter[str]]:
        """How many would pass now, and the codes of the others. Changes nothing."""
        passing, refused_by_code = 0, Counter[str]()
        for refused in requests:
            try:
                self.verify(refused)
            except StillRefused as error:
                refused_by_code[error.code] += 1
            else:
                passing += 1
        return passing, refused_by_code

    def accept(self, refused: RefusedRequest, actor: User) -> Outcome:
        """Verify it and make it an event. Raises StillRefused, QueueError, VaultError; then
        nothing has changed.
        """
        if refused.content is None:
            return Outcome.TOO_LATE
        entry = self.verify(refused)
        with transaction.atomic():
            # First the row, which stays locked: nobody can discard it while the queue answers.
            if not refused.accept(actor, _find_event(refused.source_id, entry)):
                return Outcome.TOO_LATE
            if refused.event_id.hex.encode() == entry.event_id:
                _append(refused, entry, self._find(refused).slug_bytes)
            is_new = refused.event_id.hex.encode() == entry.event_id
            AuditEntry.record(
                actor,
                "refused.accept",
                refused,
                event=refused.event_public_id,
                duplicate=not is_new,
            )
        announce("events", "figures", "refused")
        return Outcome.ACCEPTED if is_new else Outcome.DUPLICATE

    def accept_all(self, requests: Iterable[RefusedRequest], actor: User) -> Summary:
        """One after the other, each by itself; ends early where the queue takes nothing."""
        summary = Summary()
        for refused in requests:
            try:
                summary.add(self.accept(refused, actor))
            except StillRefused as error:
                summary.still_refused[error.code] += 1
            except QueueError as error:
                summary.stopped = str(error)
                break
        return summary

    def _find(self, refused: RefusedRequest) -> CompiledSource:
        source_id = refused.source_id
        if source_id not in self._sources:
            self._sources[source_id] = read_source(source_id)
        source = self._sources[source_id]
        if source is None:
            raise StillRefused("unknown_source", "Its source has been deleted.")
        if source.broken:
            raise StillRefused(SourceBroken.code, f"The source can't be used: {source.broken}")
        return source

    def _open(self, refused: RefusedRequest) -> Request:
        if refused.content is None:
            raise StillRefused("settled", "It was accepted or discarded before.")
        return unpack(refused.content)

    def _admit(self, source: CompiledSource, request: Request, refused: RefusedRequest) -> NewEntry:
        event_id = refused.event_id.hex.encode()
        try:
            return admit(source, request, event_id)
        except CertificateUnavailable as error:
            async_to_sync(certificates.fetch)(error.url)
        return admit(source, request, event_id)


def _find_event(source_id: int, entry: NewEntry) -> UUID | None:
    """The event that this request became another way: the queue forgets, the database does not."""
    key, body = entry.values[2].decode(), entry.values[6]
    known = Event.objects.filter(source=source_id, idempotency_key=key)
    first = known.values_list("pk", "body_sha256").first()
    # With another body it is given to the queue all the same, and kept there as a conflict.
    return first[0] if first and first[1] in ("", get_digest(body)) else None


def _append(refused: RefusedRequest, entry: NewEntry, slug: bytes) -> None:
    """Raises QueueError. The same one twice finds itself: its event id was made once."""
    earlier = add(slug, entry.ordering_key, entry.dedup_key, entry.values)
    if earlier and earlier != entry.event_id:
        refused.became(UUID(earlier.decode()))


def discard(refused: RefusedRequest, actor: User) -> bool:
    """Delete its content for good; False where somebody else was first."""
    with transaction.atomic():
        discarded = refused.discard(actor)
        if discarded:
            AuditEntry.record(actor, "refused.discard", refused)
    if discarded:
        announce("refused")
    return discarded


def discard_all(requests: Iterable[RefusedRequest], actor: User) -> int:
    """How many were discarded."""
    return sum(discard(refused, actor) for refused in requests)
