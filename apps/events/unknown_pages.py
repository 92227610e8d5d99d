"""The two buttons of an event whose call has an unknown outcome, beside calling again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.dashboard.site import page
from apps.events.unknown_outcomes import LookUp, look_up_answer, mark_failed
from apps.events.views import find_event, get_actor
from apps.llm.lookup import NotKept
from apps.llm.provider import LLMError

TOO_LATE = "{} was not held for an unknown outcome any more, so nothing was done."
NOT_FOUND = (
    "The provider has no answer for {}: the request never reached it, it gave up on it, or it is "
    "still at work. The event stays held."
)


@require_POST
@page("events.view_event")
def fail(request: HttpRequest, public_id: str) -> HttpResponse:
    """Mark it as failed."""
    actor = get_actor(request, "retry")
    event = find_event(public_id)
    if event is None:
        messages.error(request, "There is no such event.")
        return redirect("events:list")
    if mark_failed(event, actor):
        messages.success(request, f"{event.public_id} is marked as failed: it is a dead letter.")
    else:
        messages.warning(request, TOO_LATE.format(event.public_id))
    return redirect("events:event", event.public_id)


@require_POST
@page("events.view_event")
def look_up(request: HttpRequest, public_id: str) -> HttpResponse:
    """Ask the provider for the answer that did not arrive."""
    actor = get_actor(request, "retry")
    event = find_event(public_id)
    if event is None:
        messages.error(request, "There is no such event.")
        return redirect("events:list")
    try:
        outcome = look_up_answer(event, actor)
    except (NotKept, LLMError) as error:
        messages.error(request, f"{error} The event stays held.")
        return redirect("events:event", event.public_id)
    if outcome == LookUp.FOUND:
        text = "The provider had kept the answer: {} goes on with it, and nothing is paid again."
        messages.success(request, text.format(event.public_id))
    else:
        text = NOT_FOUND if outcome == LookUp.NOT_FOUND else TOO_LATE
        messages.warning(request, text.format(event.public_id))
    return redirect("events:event", event.public_id)
