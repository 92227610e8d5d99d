"""The page of events that wait for a person, and retry or discard for many of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from apps.dashboard.models import StatusSample
from apps.dashboard.site import page, render_page
from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import RETRYABLE, Event, Status
from apps.events.paging import get_page
from apps.events.recovery import BATCH, Verb, get_waiting, recover_all, unbury_all
from apps.events.search import EventFilter
from apps.events.views import get_actions, get_actor, get_query
from apps.llm.budget_usage import get_waits
from apps.sources.models import Source
from apps.streams.errors import QueueError

DEAD_LETTERS = ("Dead letters", "events:dead_letters")
SELECTED_MAX = 500
GROUPS_SHOWN = 50
PAST = {"retry": "queued again", "discard": "discarded"}


@dataclass(frozen=True)
class Selection:
    """Which waiting events are meant: ticked ones, or all that fit the filter, as of `until`."""

    wanted: EventFilter
    ids: list[str]
    until: datetime

    @classmethod
    def from_form(cls, form: QueryDict) -> Selection:
        until = parse_datetime(form.get("until", "")) or timezone.now()
        ids = [] if form.get("all") else form.getlist("event")[:SELECTED_MAX]
        return cls(EventFilter.from_query(form), ids, until)

    def get_events(self, *, is_all: bool) -> QuerySet[Event]:
        if is_all:
            return get_waiting(self.wanted.apply(Event.objects.all()), self.until)
        return get_waiting(Event.objects.filter(pk__in=parse_ids(self.ids)), self.until)


def parse_ids(texts: list[str]) -> list[Any]:
    """The ids among the texts; what is none is left out."""
    found = []
    for text in texts:
        try:
            found.append(parse_public_id(text))
        except WrongEventId:
            continue
    return found


@require_safe
@page("events.view_event")
def dead_letters(request: HttpRequest) -> HttpResponse:
    """Two tabs, the causes with their numbers, and the events."""
    tab = Status.HELD if request.GET.get("status") == Status.HELD else Status.DEAD
    wanted = EventFilter.from_query(request.GET).with_status(tab)
    context = {
        "tab": tab,
        "wanted": wanted,
        "params": wanted.get_params(),
        "query": get_query(request),
        "is_filtered": wanted != EventFilter(status=tab),
        "tabs": get_tabs(request.GET),
        "groups": get_groups(tab),
        "page": get_page(
            wanted.apply(Event.objects.select_related("source").marking_conflicts()), request.GET
        ),
        "sources": Source.objects.values_list("slug", "name"),
        "codes": [(code, code) for code in get_codes(tab)],
        "buried": get_buried(),
        "budget_waits": get_waits() if tab == Status.HELD else [],
    } | get_actions(request)
    if request.headers.get("HX-Request"):
        return render(request, "events/dead_letters_table.html", context)
    return render_page(request, "events/dead_letters.html", "Dead letters", context)


def get_tabs(query: Mapping[str, str]) -> list[dict[str, Any]]:
    counts = dict(
        Event.objects.filter(status__in=RETRYABLE)
        .values_list("status")
        .annotate(count=Count("pk"))
        .order_by()
    )
    names = {Status.DEAD: "Dead letters", Status.HELD: "Held"}
    return [
        {"status": status, "name": name, "count": counts.get(status, 0)}
        for status, name in names.items()
    ]


def get_groups(tab: Status) -> list[dict[str, Any]]:
    """The commonest causes: source, step and error code with their number."""
    groups = (
        Event.objects.filter(status=tab)
        .values("source__slug", "source__name", "step", "error_code")
        .annotate(count=Count("pk"))
        .order_by("-count", "source__slug", "error_code")
    )
    return [dict(group) for group in groups[:GROUPS_SHOWN]]


def get_codes(tab: Status) -> list[str]:
    codes = Event.objects.filter(status=tab).exclude(error_code="").order_by("error_code")
    return list(codes.values_list("error_code", flat=True).distinct()[:GROUPS_SHOWN])


@require_POST
@page("events.view_event")
def retry_many(request: HttpRequest) -> HttpResponse:
    return act_on_many(request, "retry")


@require_POST
@page("events.view_event")
def discard_many(request: HttpRequest) -> HttpResponse:
    return act_on_many(request, "discard")


@require_POST
@page("events.retry_event")
def unbury(request: HttpRequest) -> HttpResponse:
    """Give what could not be stored to the dispatcher again."""
    try:
        outcome = unbury_all(get_actor(request, "retry"))
    except QueueError as error:
        messages.error(request, f"{error} Try again when the queue is back.")
    else:
        messages.success(request, f"{outcome.given:,} given to the dispatcher again.")
        for shard in outcome.unreached:
            messages.warning(request, f"Shard {shard} does not answer: its entries stay aside.")
    return redirect("events:dead_letters")


def get_buried() -> int:
    """How many entries could not be stored, as the newest sample knows."""
    sample = StatusSample.objects.order_by("-at").first()
    return sum(row.get("buried") or 0 for row in sample.shards) if sample else 0


def act_on_many(request: HttpRequest, verb: Verb) -> HttpResponse:
    """First POST: the number and what will happen. Confirmed: batch after batch until done."""
    actor = get_actor(request, verb)
    selection = Selection.from_form(request.POST)
    is_all = bool(request.POST.get("all"))
    events = selection.get_events(is_all=is_all)
    if not request.POST.get("confirmed"):
        return confirm(request, verb, selection, events, is_all=is_all)
    outcome = recover_all(list(events[:BATCH]), verb, actor)
    done = read_number(request.POST, "done") + outcome.done
    left = events.count()
    if left and outcome.done:
        context = get_form_context(verb, selection, is_all=is_all)
        context |= {"done": done, "left": left, "percent": round(100 * done / (done + left))}
        return render_page(
            request, "events/progress.html", f"{verb.capitalize()} in progress", context,
            parents=(DEAD_LETTERS,),
        )  # fmt: skip
    tell_result(request, verb, done, left)
    return redirect(get_return_url(selection.wanted))


def confirm(
    request: HttpRequest,
    verb: Verb,
    selection: Selection,
    events: QuerySet[Event],
    *,
    is_all: bool,
) -> HttpResponse:
    count = events.count()
    if not count:
        messages.warning(request, "None of these events is dead or held: nothing to do.")
        return redirect(get_return_url(selection.wanted))
    context = get_form_context(verb, selection, is_all=is_all)
    context |= {"count": count, "skipped": len(selection.ids) - count if not is_all else 0}
    title = f"{verb.capitalize()} {count:,} event{'' if count == 1 else 's'}?"
    return render_page(request, "events/confirm_many.html", title, context, parents=(DEAD_LETTERS,))


def get_form_context(verb: Verb, selection: Selection, *, is_all: bool) -> dict[str, Any]:
    """What the next form must carry to mean the same events."""
    fields = [("until", selection.until.isoformat()), *selection.wanted.get_params().items()]
    fields += [("all", "1")] if is_all else [("event", each) for each in selection.ids]
    return {
        "verb": verb,
        "fields": fields,
        "action": reverse(f"events:{verb}_many"),
        "back": get_return_url(selection.wanted),
    }


def get_return_url(wanted: EventFilter) -> str:
    query = QueryDict(mutable=True)
    query.update(wanted.get_params())
    return f"{reverse('events:dead_letters')}?{query.urlencode()}"


def read_number(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 12 else 0


def tell_result(request: HttpRequest, verb: Verb, done: int, left: int) -> None:
    noun = "event is" if done == 1 else "events are"
    if done:
        messages.success(request, f"{done:,} {noun} {PAST[verb]}.")
    if left or not done:
        messages.warning(request, f"{left:,} could not be {PAST[verb]}: look at them again.")
