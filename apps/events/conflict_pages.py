"""What the page of an event does with its conflicts: make events of them, give their bytes."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from apps.dashboard.site import page
from apps.events.conflicts import process_all
from apps.events.dead_letter_pages import parse_ids
from apps.events.models import EventConflict
from apps.events.views import as_download, find_event, get_actor


@require_POST
@page("events.view_event")
def process(request: HttpRequest, public_id: str) -> HttpResponse:
    """Make events of the bodies named by `conflict`, or of all where none is."""
    actor = get_actor(request, "retry")
    event = find_event(public_id)
    if event is None:
        messages.error(request, "There is no such event.")
        return redirect("events:list")
    waiting = event.conflicts.filter(processed_at=None)
    if wanted := parse_ids(request.POST.getlist("conflict")):
        waiting = waiting.filter(pk__in=wanted)
    outcome = process_all(waiting.select_related("event__source__pipeline"), actor)
    if outcome.done:
        noun = "body is an event of its" if outcome.done == 1 else "bodies are events of their"
        messages.success(request, f"{outcome.done} {noun} own now.")
    if outcome.too_late or not outcome.done:
        messages.warning(request, "Some were events of their own already: look at them below.")
    return redirect("events:event", event.public_id)


@require_safe
@page("events.view_eventbody")
def payload(request: HttpRequest, public_id: str, conflict_id: str) -> HttpResponse:
    """The other body as it came, as a download."""
    conflict = EventConflict.objects.filter(pk__in=parse_ids([conflict_id])).first()
    if conflict is None:
        raise Http404
    return as_download(bytes(conflict.raw), conflict.public_id)
