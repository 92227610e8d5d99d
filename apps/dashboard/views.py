"""The live page and the fragments that it fetches again when the socket says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from apps.dashboard.breakers import get_rows as get_breaker_rows
from apps.dashboard.cards import get_panel, get_stale_after_s
from apps.dashboard.local_model import is_local
from apps.dashboard.models import StatusSample
from apps.dashboard.shards import get_rows as get_shard_rows
from apps.dashboard.site import page, render_page
from apps.events.models import Event
from apps.housekeeping import health
from apps.llm.budget_usage import get_warnings
from apps.sources.models import Source
from apps.sources.sample_request import get_curl

LATEST = 10
PART_NAMES = {
    "database": "Database",
    "queue": "Queue",
    "spool": "Local spool",
    "temporal": "Workflows (Temporal)",
    "llm": "LLM provider",
    "dispatcher": "Dispatcher",
    "worker": "Worker",
    "celery": "Periodic tasks (Celery)",
}


@page("events.view_event")
def live_page(request: HttpRequest) -> HttpResponse:
    context = get_figures() | get_latest(request) | get_parts() | {"is_local_model": is_local()}
    return render_page(request, "dashboard/live.html", "Live", context)


@page("events.view_event")
def figures_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/figures.html", get_figures())


@page("events.view_event")
def events_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/latest.html", get_latest(request))


@page("events.view_event")
def parts_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/parts.html", get_parts())


def get_figures() -> dict[str, Any]:
    return {"panel": get_panel(), "budget_warnings": get_warnings()}


def get_latest(request: HttpRequest) -> dict[str, Any]:
    """The newest events; before the first one, what to do next."""
    events = list(Event.objects.select_related("source")[:LATEST])
    return {"events": events} | ({} if events else get_first_steps(request))


def get_first_steps(request: HttpRequest) -> dict[str, Any]:
    """A source to begin with; its signed command only for who could sign one anyway."""
    source = Source.objects.filter(paused_at=None).order_by("created_at").first()
    may_sign = request.user.has_perm("sources.view_secret")
    return {"first_source": source, "curl": get_curl(source) if source and may_sign else None}


def get_parts() -> dict[str, Any]:
    """The parts and shards of the newest sample. An old one says nothing about now: then the
    parts are asked here, for what keeps samples from being made must be seen most of all.
    """
    oldest = timezone.now() - timedelta(seconds=get_stale_after_s())
    sample = StatusSample.objects.only("parts", "shards", "breakers").filter(at__gte=oldest).first()
    parts = sample.parts if sample else ask_parts()
    breakers = get_breaker_rows(sample)
    if breakers and parts.get("llm", {}).get("ok"):
        parts["llm"] = {"ok": True, "why": ""}  # a row for each says it better
    rows = [{"name": PART_NAMES.get(name, name.capitalize()), **parts[name]} for name in parts]
    return {
        "parts": rows,
        "failing": sum(not row["ok"] for row in rows),
        "shards": get_shard_rows(sample.shards) if sample else [],
        "breakers": breakers,
    }


def ask_parts() -> dict[str, dict[str, object]]:
    """The health of each part, asked now; takes up to two seconds."""
    return {name: part.as_json() for name, part in health.get_parts().items()}
