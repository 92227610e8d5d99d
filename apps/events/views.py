"""Lists of events, the page of one event, and its two actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import User
from apps.dashboard.site import page, render_page
from apps.events.conflicts import show_conflicts
from apps.events.duplicates import KEPT_CONFLICTS
from apps.events.explanations import explain, explain_no_action
from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import RETRYABLE, Event, EventBody, Status
from apps.events.paging import get_page
from apps.events.payload import pretty_json, read_payload, read_prompt
from apps.events.recovery import PERMISSIONS, Verb, recover
from apps.events.search import PERIODS, TEXT_SEARCH_ROWS, EventFilter
from apps.events.timeline import build_timeline
from apps.events.unknown_outcomes import is_unknown
from apps.llm.lookup import can_look_up
from apps.llm.models import LLMCall
from apps.sources.models import Source

EVENTS = ("Events", "events:list")
DONE = {
    "retry": "{} is queued again.",
    "discard": "{} is discarded.",
}
TOO_LATE = "{} was neither dead nor held any more, nor in a batch, so nothing was done."


@require_safe
@page("events.view_event")
def event_list(request: HttpRequest) -> HttpResponse:
    """Search and filter; htmx asks for the table alone when events changed."""
    wanted = EventFilter.from_query(request.GET)
    found = wanted.find(Event.objects.select_related("source").marking_conflicts())
    context = {
        "wanted": wanted,
        "period": request.GET.get("period", ""),
        "query": get_query(request),
        "is_filtered": wanted != EventFilter(),
        "page": get_page(found.events, request.GET),
        "searched_back_to": found.searched_back_to,
        "searched_rows": TEXT_SEARCH_ROWS,
        "statuses": Status.choices,
        "periods": [(value, label) for value, (label, _) in PERIODS.items()],
        "sources": Source.objects.values_list("slug", "name"),
    } | get_actions(request)
    if request.headers.get("HX-Request"):
        return render(request, "events/table.html", context)
    return render_page(request, "events/list.html", "Events", context)


@require_safe
@page("events.view_event")
def event_page(request: HttpRequest, public_id: str) -> HttpResponse:
    """Everything that is known about one event."""
    event = find_event(public_id)
    if event is None:
        return render_page(
            request, "events/not_found.html", "Not found", {"public_id": public_id},
            parents=(EVENTS,), status=404,
        )  # fmt: skip
    if event.public_id != public_id:
        return redirect("events:event", event.public_id)  # it was acknowledged under both ids
    context = get_details(event) | get_actions(request)
    if request.headers.get("HX-Request"):
        return render(request, "events/details.html", context)
    return render_page(request, "events/event.html", event.public_id, context, parents=(EVENTS,))


@require_safe
@page("events.view_eventbody")
def event_payload(request: HttpRequest, public_id: str) -> HttpResponse:
    """The bytes as they came."""
    event = find_event(public_id)
    body = EventBody.objects.filter(event=event).first() if event else None
    if event is None or body is None:
        raise Http404
    return as_download(bytes(body.raw), event.public_id)


def as_download(raw: bytes, name: str) -> HttpResponse:
    """A body as a file: a browser must never render it."""
    answer = HttpResponse(raw, content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="{name}.bin"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


@require_POST
@page("events.view_event")
def event_retry(request: HttpRequest, public_id: str) -> HttpResponse:
    return act(request, public_id, "retry")


@require_POST
@page("events.view_event")
def event_discard(request: HttpRequest, public_id: str) -> HttpResponse:
    return act(request, public_id, "discard")


def act(request: HttpRequest, public_id: str, verb: Verb) -> HttpResponse:
    """One verb on one event, told in a message, back on its page."""
    actor = get_actor(request, verb)
    event = find_event(public_id)
    if event is None:
        messages.error(request, "There is no such event.")
        return redirect("events:list")
    if recover(event, verb, actor):
        messages.success(request, DONE[verb].format(event.public_id))
    else:
        messages.warning(request, TOO_LATE.format(event.public_id))
    return redirect("events:event", event.public_id)


def get_query(request: HttpRequest) -> str:
    """The query of the address without the page, for the links to other pages."""
    query = request.GET.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    return query.urlencode()


def get_actor(request: HttpRequest, verb: Verb) -> User:
    """Who acts; 403 for somebody who may not."""
    user = request.user
    if not isinstance(user, User) or not user.has_perm(PERMISSIONS[verb]):
        raise PermissionDenied
    return user


def get_actions(request: HttpRequest) -> dict[str, bool]:
    """Which buttons this reader gets."""
    may = {verb: request.user.has_perm(name) for verb, name in PERMISSIONS.items()}
    return {"may_retry": may["retry"], "may_discard": may["discard"], "may_act": any(may.values())}


def find_event(public_id: str) -> Event | None:
    try:
        pk = parse_public_id(public_id)
    except WrongEventId:
        return None
    related = ("source", "pipeline_version__pipeline", "pipeline_version__destination")
    return Event.find(pk, Event.objects.select_related(*related).with_secret())


def find_batch_wait(event: Event, calls: Sequence[LLMCall]) -> LLMCall | None:
    """The call that the event waits for in a batch."""
    waiting = (call for call in calls if call.state == LLMCall.State.BATCH)
    return next(waiting, None) if event.is_parked else None


def get_details(event: Event) -> dict[str, Any]:
    attempts = list(event.attempts.all())
    approvals = list(event.approvals.select_related("event__pipeline_version"))
    calls = list(event.llm_calls.own())
    body = EventBody.objects.filter(event=event).first()
    raw = bytes(body.raw) if body else b""
    conflicts = show_conflicts(event, raw)
    return {
        "event": event,
        "attempts": attempts,
        "calls": [{"call": call, "prompt": read_prompt(call.request)} for call in calls],
        "timeline": build_timeline(event, attempts, approvals),
        "approvals": approvals,
        "payload": read_payload(raw, body.content_type) if body else None,
        "conflicts": conflicts,
        "unprocessed": sum(each.conflict.processed_at is None for each in conflicts),
        "kept_conflicts": KEPT_CONFLICTS,
        "answer": pretty_json(event.answer) if event.answer is not None else "",
        "explanation": explain(event, calls) if event.status in RETRYABLE else None,
        "no_action": explain_no_action(event),
        "is_unknown": is_unknown(event, calls),
        "batch_wait": find_batch_wait(event, calls),
        "can_look_up": can_look_up(calls),
        "is_open": event.status in (Status.QUEUED, Status.RUNNING),
    }
