"""Pages of events by key: page 1,000 costs what page 1 costs, and nothing is counted."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q, QuerySet

from apps.events.models import Event

PAGE_SIZE = 50


@dataclass(frozen=True)
class Page:
    """One page, newest first; `older` and `newer` are cursors, empty where there is nothing."""

    events: list[Event]
    older: str
    newer: str


@dataclass(frozen=True)
class Key:
    """Where an event stands in the order (received_at, id)."""

    at: datetime
    id: uuid.UUID

    @classmethod
    def of(cls, event: Event) -> Key:
        return cls(event.received_at, event.id)

    @classmethod
    def parse(cls, cursor: str) -> Key | None:
        """None for what is no cursor: the reader then gets the first page."""
        micros, _, digits = cursor.partition("-")
        try:
            return cls(datetime.fromtimestamp(int(micros) / 1e6, UTC), uuid.UUID(hex=digits))
        except (ValueError, OverflowError, OSError):
            return None

    def __str__(self) -> str:
        return f"{round(self.at.timestamp() * 1e6)}-{self.id.hex}"

    def is_after(self) -> Q:
        return Q(received_at__lt=self.at) | Q(received_at=self.at, id__lt=self.id)

    def is_before(self) -> Q:
        return Q(received_at__gt=self.at) | Q(received_at=self.at, id__gt=self.id)


def get_page(events: QuerySet[Event], query: Mapping[str, str], size: int = PAGE_SIZE) -> Page:
    """The page that `older` or `newer` of the query asks for; one row more tells of a next one."""
    if newer := Key.parse(query.get("newer", "")):
        return _get_newer(events, newer, size)
    older = Key.parse(query.get("older", ""))
    if older:
        events = events.filter(older.is_after())
    rows = list(events[: size + 1])
    return _make(rows[:size], has_older=len(rows) > size, has_newer=older is not None)


def _get_newer(events: QuerySet[Event], key: Key, size: int) -> Page:
    rows = list(events.filter(key.is_before()).order_by("received_at", "id")[: size + 1])
    return _make(rows[:size][::-1], has_older=True, has_newer=len(rows) > size)


def _make(rows: list[Event], *, has_older: bool, has_newer: bool) -> Page:
    return Page(
        rows,
        older=str(Key.of(rows[-1])) if rows and has_older else "",
        newer=str(Key.of(rows[0])) if rows and has_newer else "",
    )
