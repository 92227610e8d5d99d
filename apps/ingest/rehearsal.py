"""What rules would have made of the events that a source has already taken in."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from apps.events.models import Event
from apps.ingest.answers import IGNORED
from apps.ingest.gate import make_gate
from apps.ingest.refusals import EventIgnored, Refusal
from apps.sources.models import Source
from apps.sources.rules import Rules
from apps.sources.schemes import Request, Verified
from apps.streams.limits import Ask, OwnBuckets

EVENTS_MAX = 200
BYTES_MAX = 5_000_000
TIME_MAX_S = 2.0
SHOWN = 20
TYPES_MAX = 12

FATES = TAKEN, HELD, REFUSED, LEFT, LATER = "taken", "held", "refused", "ignored", "later"


@dataclass(frozen=True)
class Fate:
    """An event that would not simply have been taken in, and why."""

    event: Event
    what: str
    why: str


@dataclass
class Rehearsal:
    """`counts` by what would have happened, one of FATES; later is a 429."""

    looked_at: int = 0
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(FATES, 0)))
    shown: list[Fate] = field(default_factory=list)

    def note(self, event: Event, what: str, why: str = "") -> None:
        self.counts[what] += 1
        if what != TAKEN and len(self.shown) < SHOWN:
            self.shown.append(Fate(event, what, why))


def rehearse(source: Source, rules: Rules) -> Rehearsal:
    """The newest events, as many as fit in EVENTS_MAX, BYTES_MAX and TIME_MAX_S, under `rules`.

    Who sent an event is not stored, so that rules about addresses are left out; the rate of all
    senders together is tried with the times at which the events came.
    """
    gate = make_gate(rules, str(source.pk), IGNORED)
    events = _read_events(source)
    began, rehearsal = time.monotonic(), Rehearsal()
    late = _find_late(events, gate.rate_ask) if gate and gate.rate_ask else set()
    for event in events:
        if time.monotonic() - began > TIME_MAX_S:
            break
        rehearsal.looked_at += 1
        if event.pk in late:
            rehearsal.note(event, LATER, "More requests than the rate allows had come before it.")
            continue
        request, verified = _rebuild(event)
        try:
            why, _ = gate.check(request, verified, b"") if gate else (b"", b"")
        except EventIgnored as error:
            rehearsal.note(event, LEFT, str(error))
        except Refusal as error:
            rehearsal.note(event, REFUSED, str(error))
        else:
            rehearsal.note(event, HELD if why else TAKEN, why.decode())
    return rehearsal


def get_seen_types(source: Source) -> list[str]:
    """The types of the newest events, sorted, TYPES_MAX at most."""
    newest = Event.objects.filter(source=source).order_by("-received_at", "-id")
    seen = set(newest.values_list("event_type", flat=True)[:EVENTS_MAX])
    return sorted(seen - {""})[:TYPES_MAX]


def _read_events(source: Source) -> list[Event]:
    """Newest first, with their bodies."""
    newest = Event.objects.filter(source=source).order_by("-received_at", "-id")
    wanted: list[UUID] = []
    size = 0
    for pk, size_bytes in newest.values_list("pk", "size_bytes")[:EVENTS_MAX]:
        size += size_bytes
        if size > BYTES_MAX and wanted:
            break
        wanted.append(pk)
    return list(newest.filter(pk__in=wanted).select_related("body"))


def _rebuild(event: Event) -> tuple[Request, Verified]:
    """As ingest had it after the signature; all that rules look at."""
    body = event.body
    headers = {b"content-type": body.content_type.encode()}
    request = Request("POST", "", headers, bytes(body.raw), event.received_at.timestamp())
    return request, Verified(0, None, event.event_type)


def _find_late(events: list[Event], ask: Ask) -> set[UUID]:
    buckets = OwnBuckets()
    late = set()
    for event in sorted(events, key=lambda event: event.received_at):
        if buckets.take((ask,), event.received_at.timestamp()):
            late.add(event.pk)
    return late
