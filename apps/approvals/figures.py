"""What Prometheus is told of answers that wait."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Count, Min

from apps.approvals.models import Approval, Decision


def count_waiting() -> tuple[int, datetime | None, datetime | None]:
    """How many wait, since when the oldest does, and the next deadline."""
    waiting = Approval.objects.filter(decision=Decision.WAITING)
    found = waiting.aggregate(count=Count("pk"), oldest=Min("held_at"), next=Min("deadline"))
    return found["count"], found["oldest"], found["next"]
