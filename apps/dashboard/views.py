"""The live page and the fragments that it fetches again when the socket says so."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from apps.dashboard.cards import get_age_s, get_panel, get_stale_after_s
from apps.dashboard.models import StatusSample
from apps.dashboard.site import page, render_page
from apps.events.models import Event
from apps.sources.models import Source

LATEST = 10
LOCAL_MODEL = "smollm2"
PART_NAMES = {
    "database": "Database",
    "queue": "Queue",
    "temporal": "Workflows (Temporal)",
    "llm": "LLM provider",
    "dispatcher": "Dispatcher",
    "worker": "Worker",
    "celery": "Periodic tasks (Celery)",
}


@page("events.view_event")
def live_page(request: HttpRequest) -> HttpResponse:
    context = get_figures() | get_latest() | get_parts() | {"is_local_model": is_local_model()}
    if not context["events"]:
        context["first_source"] = Source.objects.filter(paused_at=None).first()
    return render_page(request, "dashboard/live.html", "Live", context)


@page("events.view_event")
def figures_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/figures.html", get_figures())


@page("events.view_event")
def events_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/latest.html", get_latest())


@page("events.view_event")
def parts_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/parts.html", get_parts())


def get_figures() -> dict[str, Any]:
    return {"panel": get_panel()}


def get_latest() -> dict[str, Any]:
    newest = Event.objects.select_related("source")
    return {"events": list(newest[:LATEST])}


def get_parts() -> dict[str, Any]:
    """The parts of the newest sample; an old sample says nothing about now."""
    sample = StatusSample.objects.only("at", "parts").first()
    age_s = get_age_s(timezone.now())
    parts = sample.parts if sample else {}
    rows = [{"name": PART_NAMES.get(name, name.capitalize()), **parts[name]} for name in parts]
    return {
        "parts": rows,
        "is_known": age_s is not None and age_s <= get_stale_after_s(),
        "failing": sum(not row["ok"] for row in rows),
    }


def is_local_model() -> bool:
    """Whether pipelines that name no model get the small one that comes along."""
    return LOCAL_MODEL in settings.OPENAI_MODEL.lower()
