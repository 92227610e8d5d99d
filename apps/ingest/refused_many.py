"""Accept or discard many refused requests: asked first, done in batches, told at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from apps.accounts.models import User
from apps.dashboard.site import page, render_page
from apps.events.paging import Key
from apps.ingest.acceptance import BATCH, Acceptance, Summary, discard_all
from apps.ingest.models import RefusedRequest
from apps.ingest.reasons import get_label
from apps.ingest.refused_filter import RefusedFilter
from apps.ingest.refused_pages import REFUSED, get_actor, get_kept, get_return_url
from apps.vault.vault import VaultError

SELECTED_MAX = 500
# More are not verified for the question alone: it must answer within seconds.
CHECKED_MAX = 300
NUMBERS = ("accepted", "duplicates", "too_late", "discarded")


@dataclass
class Progress:
    """What is done so far; it travels in the form from batch to batch."""

    numbers: Counter[str] = field(default_factory=Counter)
    still_refused: Counter[str] = field(default_factory=Counter)  # by code
    after: Key | None = None  # the last one that was tried

    @classmethod
    def from_form(cls, form: QueryDict) -> Progress:
        progress = cls(after=Key.parse(form.get("after", "")))
        progress.numbers.update({name: read_number(form.get(name, "")) for name in NUMBERS})
        for text in form.getlist("still"):
            code, _, number = text.rpartition(":")
            progress.still_refused[code[:60]] += read_number(number)
        return progress

    def get_fields(self) -> list[tuple[str, str]]:
        fields = [(name, str(number)) for name, number in self.numbers.items() if number]
        fields += [("still", f"{code}:{number}") for code, number in self.still_refused.items()]
        return [*fields, ("after", str(self.after))] if self.after else fields

    def add(self, summary: Summary) -> None:
        self.numbers["accepted"] += summary.accepted
        self.numbers["duplicates"] += summary.duplicates
        self.numbers["too_late"] += summary.too_late
        self.still_refused += summary.still_refused

    @property
    def done(self) -> int:
        return self.numbers.total() + self.still_refused.total()


def read_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 12 else 0


def read_selection(form: QueryDict) -> RefusedFilter:
    """Ticked ones, or all that fit the filter; in both cases no later than the question."""
    wanted = RefusedFilter.from_query(form)
    until = parse_datetime(form.get("until", "")) or timezone.now()
    if form.get("all"):
        return replace(wanted, until=until)
    texts = form.getlist("request")[:SELECTED_MAX]
    ids = [pk for text in texts if (pk := RefusedRequest.parse_public_id(text))]
    return replace(RefusedFilter(), until=until, ids=ids)


@require_POST
@page("ingest.view_refusedrequest")
def accept_many(request: HttpRequest) -> HttpResponse:
    return act_on_many(request, "accept")


@require_POST
@page("ingest.view_refusedrequest")
def discard_many(request: HttpRequest) -> HttpResponse:
    return act_on_many(request, "discard")


def act_on_many(request: HttpRequest, verb: str) -> HttpResponse:
    """First POST: what would happen. Confirmed: batch after batch until done."""
    actor = get_actor(request, verb)
    back = get_return_url(RefusedFilter.from_query(request.POST))
    try:
        if not request.POST.get("confirmed"):
            return confirm(request, verb, back)
        return go_on(request, verb, actor, back)
    except VaultError as error:
        messages.error(request, str(error))
        return redirect(back)


def confirm(request: HttpRequest, verb: str, back: str) -> HttpResponse:
    selection = read_selection(request.POST)
    requests = get_kept(selection)
    count = requests.count()
    if not count:
        messages.warning(request, "None of these requests is kept any more: nothing to do.")
        return redirect(back)
    context = get_form(request.POST, selection, verb, back) | {"count": count}
    if verb == "accept":
        passing, others = Acceptance().count_passing(requests[:CHECKED_MAX])
        context |= {
            "checked": min(count, CHECKED_MAX),
            "passing": passing,
            "others": [(get_label(code), number) for code, number in others.most_common()],
        }
    title = f"{'Verify and accept' if verb == 'accept' else 'Discard'} {count:,} requests?"
    if count == 1:
        title = title.replace("requests?", "request?")
    return render_page(request, "refused/confirm_many.html", title, context, parents=(REFUSED,))


def go_on(request: HttpRequest, verb: str, actor: User, back: str) -> HttpResponse:
    selection = read_selection(request.POST)
    progress = Progress.from_form(request.POST)
    batch = list(get_rest(selection, progress)[:BATCH])
    stopped = act(verb, batch, actor, progress)
    left = get_rest(selection, progress).count()
    if left and batch and not stopped:
        context = get_form(request.POST, selection, verb, back)
        context["fields"] += progress.get_fields()
        context |= {"done": progress.done, "left": left}
        context["percent"] = round(100 * progress.done / (progress.done + left))
        return render_page(
            request, "events/progress.html", "In progress", context, parents=(REFUSED,)
        )
    tell_result(request, progress, stopped)
    return redirect(back)


def get_rest(selection: RefusedFilter, progress: Progress) -> Any:
    rest = get_kept(selection)
    # What stays refused must not be tried again and again.
    return rest.filter(progress.after.is_before()) if progress.after else rest


def act(verb: str, batch: list[RefusedRequest], actor: User, progress: Progress) -> str:
    """One batch; why it stopped, '' where it did not."""
    if not batch:
        return ""
    progress.after = Key.of(batch[-1])
    if verb == "discard":
        progress.numbers["discarded"] += discard_all(batch, actor)
        return ""
    summary = Acceptance().accept_all(batch, actor)
    progress.add(summary)
    return summary.stopped


def get_form(form: QueryDict, selection: RefusedFilter, verb: str, back: str) -> dict[str, Any]:
    """What the next form must carry to mean the same requests."""
    assert selection.until is not None
    params: Mapping[str, str] = RefusedFilter.from_query(form).get_params()
    fields = [("until", selection.until.isoformat()), *params.items()]
    if selection.ids is None:
        fields.append(("all", "1"))
    else:
        fields += [("request", f"ref_{pk.hex}") for pk in selection.ids]
    action = reverse(f"refused:{verb}_many")
    return {"verb": verb, "fields": fields, "action": action, "back": back}


def tell_result(request: HttpRequest, progress: Progress, stopped: str) -> None:
    numbers = progress.numbers
    sentences = {
        "accepted": "accepted",
        "duplicates": "had come another way already",
        "discarded": "discarded",
    }
    told = [f"{numbers[name]:,} {text}" for name, text in sentences.items() if numbers[name]]
    if told:
        messages.success(request, f"{', '.join(told).capitalize()}.")
    if still := progress.still_refused:
        reasons = ", ".join(f"{number:,} {get_label(code)}" for code, number in still.most_common())
        messages.warning(request, f"{still.total():,} still refused: {reasons}.")
    if numbers["too_late"]:
        messages.warning(request, f"{numbers['too_late']:,} had been settled by somebody else.")
    if stopped:
        messages.error(request, f"It stopped: {stopped} The rest has not changed.")
