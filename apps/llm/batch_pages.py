"""The page of batches."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Min, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from apps.dashboard.site import page, render_page
from apps.llm.batch_gathering import find_waiting
from apps.llm.batch_models import LLMBatch
from apps.pipelines.models import PipelineVersion

SHOWN = 50
TONES = {"finished": "delivered", "refused": "dead", "unknown": "held"}
SAVED_DAYS = 30


@require_safe
@page("llm.view_llmbatch")
def batches_page(request: HttpRequest) -> HttpResponse:
    """What waits, what is at the provider, what came of it; htmx asks for all of it again."""
    found = LLMBatch.objects.order_by("-created_at", "-id")
    before = read_before(request.GET.get("before", ""))
    if before:
        found = found.filter(created_at__lt=before)
    batches = list(found[: SHOWN + 1])
    context = {
        "rows": [{"batch": each, "tone": get_tone(each)} for each in batches[:SHOWN]],
        "older": batches[SHOWN - 1].created_at.isoformat() if len(batches) > SHOWN else "",
        "is_first": not before,
        **get_totals(),
    }
    if request.headers.get("HX-Request"):
        return render(request, "llm/batch_table.html", context)
    return render_page(request, "llm/batches.html", "Batches", context)


def read_before(text: str) -> datetime | None:
    """None for what is no time: the reader then gets the first page."""
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at and at.tzinfo else None


def get_tone(batch: LLMBatch) -> str:
    """The colour of its state."""
    return TONES.get(batch.state, "running")


def get_totals() -> dict[str, Any]:
    """What is gathered now, and what batches saved lately."""
    waiting = find_waiting()
    since = timezone.now() - timedelta(days=SAVED_DAYS)
    saved = LLMBatch.objects.filter(created_at__gt=since).aggregate(sum=Sum("saved_usd"))["sum"]
    return {
        "waiting": waiting.count(),
        "oldest": waiting.aggregate(at=Min("intended_at"))["at"],
        "saved_usd": saved or Decimal(0),
        "saved_days": SAVED_DAYS,
        "is_used": PipelineVersion.objects.filter(may_wait_h__gt=0).exists(),
    }
