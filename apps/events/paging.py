"""Pages by key: page 1,000 costs what page 1 costs, and nothing is counted."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from django.db.models import Q, QuerySet

from apps.events.models import Event
from apps.ingest.models import RefusedRequest

PAGE_SIZE = 50

Row = TypeVar("Row", Event, RefusedRequest)
"""What has `received_at` and a UUID."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page, newest first; `older` and `newer` are cursors, empty where there is nothing."""

    rows: list[Row]
    older: str
    newer: str


@dataclass(frozen=True)
class Key:
    """Where a row stands in the order (received_at, id)."""

    at: datetime
    id: uuid.UUID

    @classmethod
    def of(cls, row: Event | RefusedRequest) -> Key:
        return cls(row.received_at, row.id)

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
        """What comes after it, newest first: the older rows."""
        return Q(received_at__lt=self.at) | Q(received_at=self.at, id__lt=self.id)

    def is_before(self) -> Q:
        return Q(received_at__gt=self.at) | Q(received_at=self.at, id__gt=self.id)


def get_page(rows: QuerySet[Row], query: Mapping[str, str], size: int = PAGE_SIZE) -> Page[Row]:
    """The page that `older` or `newer` of the query asks for; one row more tells of a next one."""
    if newer := Key.parse(query.get("newer", "")):
        return _get_newer(rows, newer, size)
    older = Key.parse(query.get("older", ""))
    if older:
        rows = rows.filter(older.is_after())
    found = list(rows[: size + 1])
    return _make(found[:size], has_older=len(found) > size, has_newer=older is not None)


def _get_newer(rows: QuerySet[Row], key: Key, size: int) -> Page[Row]:
    found = list(rows.filter(key.is_before()).order_by("received_at", "id")[: size + 1])
    return _make(found[:size][::-1], has_older=True, has_newer=len(found) > size)


def _make(rows: list[Row], *, has_older: bool, has_newer: bool) -> Page[Row]:
    return Page(
        rows,
        older=str(Key.of(rows[-1])) if rows and has_older else "",
        newer=str(Key.of(rows[0])) if rows and has_newer else "",
    )
