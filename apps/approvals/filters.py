"""Which approvals are asked for: by page and API alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from apps.approvals.models import Approval, Decision

WAITING, DECIDED = "waiting", "decided"
AGES = {
    "1": "Longer than 1 hour",
    "8": "Longer than 8 hours",
    "24": "Longer than 1 day",
    "72": "Longer than 3 days",
}


@dataclass(frozen=True)
class ApprovalFilter:
    """`state` is waiting, decided, or one of the decisions; `older_than_h` since it was held."""

    state: str = ""
    pipeline: str = ""
    older_than_h: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> ApprovalFilter:
        """What a page's address says; what is not understood asks nothing."""
        age = query.get("older_than_h", "")
        state = query.get("state", WAITING)
        return cls(
            state=state if state in (DECIDED, *Decision.values) else WAITING,
            pipeline=query.get("pipeline", "")[:60],
            older_than_h=int(age) if age in AGES else None,
        )

    def apply(self, approvals: QuerySet[Approval]) -> QuerySet[Approval]:
        if self.state == DECIDED:
            approvals = approvals.exclude(decision=Decision.WAITING)
        elif self.state:
            approvals = approvals.filter(decision=self.state)
        if self.pipeline:
            approvals = approvals.filter(event__pipeline_version__pipeline__slug=self.pipeline)
        if self.older_than_h is not None:
            before = timezone.now() - timedelta(hours=self.older_than_h)
            approvals = approvals.filter(held_at__lte=before)
        return approvals

    def get_params(self) -> dict[str, Any]:
        """For hidden fields and addresses: what is not asked is left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value not in ("", None)}
