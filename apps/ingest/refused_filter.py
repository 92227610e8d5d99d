"""Which refused requests a reader means: by source, reason, state and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from apps.events.search import PERIODS
from apps.ingest.models import RefusedRequest, State


@dataclass(frozen=True)
class RefusedFilter:
    """An empty part leaves it open. `since` counts, `until` too."""

    source: str = ""
    code: str = ""
    state: str = ""
    period: str = ""
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[UUID] | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> RefusedFilter:
        """From the query of a page's address; a value that means nothing is left out."""
        state, period = query.get("state", State.KEPT), query.get("period", "")
        return cls(
            source=query.get("source", "")[:60],
            code=query.get("code", "")[:60],
            state=state if state in State.values else "",
            period=period if period in PERIODS else "",
        )

    def get_params(self) -> dict[str, str]:
        """The texts that are set, by their name in a page's address."""
        texts = {"source": self.source, "code": self.code, "period": self.period}
        return {"state": self.state} | {name: text for name, text in texts.items() if text}

    def apply(self, requests: QuerySet[RefusedRequest]) -> QuerySet[RefusedRequest]:
        """Those of `requests` that fit."""
        since = timezone.now() - PERIODS[self.period][1] if self.period else self.since
        exact: dict[str, Any] = {
            "source__slug": self.source,
            "code": self.code,
            "state": self.state,
            "last_received_at__gte": since,
            "received_at__lte": self.until,
        }
        found = requests.filter(**{name: value for name, value in exact.items() if value})
        return found if self.ids is None else found.filter(pk__in=self.ids)
