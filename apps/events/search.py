"""Finding events among a million: indexed filters first, then a bounded search for text."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.events.models import Event, EventConflict, Status

TEXT_SEARCH_ROWS = 50_000
PERIODS = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
}
_ID_START = re.compile(r"evt_([0-9a-f]{8,32})")


@dataclass(frozen=True)
class Found:
    """The events; `searched_back_to` where the search for a text went no further."""

    events: QuerySet[Event]
    searched_back_to: datetime | None = None


@dataclass(frozen=True)
class EventFilter:
    """What a reader asked for; an empty part leaves it open. `since` counts, `until` does not."""

    q: str = ""
    status: str = ""
    source: str = ""
    event_type: str = ""
    error_code: str = ""
    since: datetime | None = None
    until: datetime | None = None
    conflicts: bool = False  # only those under whose key another body came

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> EventFilter:
        """From the query of a page's address; a value that means nothing is left out."""
        status, period = query.get("status", ""), query.get("period", "")
        return cls(
            q=query.get("q", "").strip()[:200],
            status=status if status in Status.values else "",
            source=query.get("source", "")[:60],
            error_code=query.get("error_code", "")[:60],
            since=timezone.now() - PERIODS[period][1] if period in PERIODS else None,
            conflicts=bool(query.get("conflicts")),
        )

    def with_status(self, status: str) -> EventFilter:
        return replace(self, status=status)

    def get_params(self) -> dict[str, str]:
        """The texts that are set, by their name in a page's address."""
        texts = vars(self).items()
        return {name: value for name, value in texts if value and isinstance(value, str)}

    def apply(self, events: QuerySet[Event]) -> QuerySet[Event]:
        """Those of `events` that fit."""
        return self.find(events).events

    def find(self, events: QuerySet[Event]) -> Found:
        """Those that fit; a text is looked for in the newest TEXT_SEARCH_ROWS of them only."""
        exact = {
            "status": self.status,
            "source__slug": self.source,
            "event_type": self.event_type,
            "error_code": self.error_code,
            "received_at__gte": self.since,
            "received_at__lt": self.until,
        }
        narrowed = events.filter(**{name: value for name, value in exact.items() if value})
        if self.conflicts:
            narrowed = narrowed.filter(pk__in=EventConflict.objects.order_by().values("event"))
        return find_text(narrowed, self.q) if self.q else Found(narrowed)


def find_text(events: QuerySet[Event], text: str) -> Found:
    """By (the start of) an id, else by a part of the idempotency key, the type or the body."""
    if match := _ID_START.fullmatch(text.lower()):
        if len(match[1]) == 32 and (event := Event.find(uuid.UUID(hex=match[1]))):
            return Found(events.filter(pk=event.pk))  # also by another id that the sender was told
        return Found(events.filter(_get_id_range(match[1])))
    newest = events.order_by("-received_at").values_list("received_at", flat=True)
    back_to = next(iter(newest[TEXT_SEARCH_ROWS : TEXT_SEARCH_ROWS + 1]), None)
    if back_to is not None:
        events = events.filter(received_at__gt=back_to)
    contains = (
        Q(idempotency_key__icontains=text)
        | Q(event_type__icontains=text)
        | Q(excerpt__icontains=text)
    )
    return Found(events.filter(contains), back_to)


def _get_id_range(start: str) -> Q:
    """Ids that begin with these hex digits, by the primary key's index."""
    first, last = uuid.UUID(hex=start.ljust(32, "0")), uuid.UUID(hex=start.ljust(32, "f"))
    return Q(id__gte=first, id__lte=last)
