"""Approve or reject those that were ticked: asked first."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from apps.approvals.deciding import Verb, decide_all
from apps.approvals.filters import ApprovalFilter
from apps.approvals.models import NOTE_MAX_CHARS, Approval, Decision
from apps.approvals.pages import APPROVALS, PAGE_SIZE, RELATED, VIEW, get_actor
from apps.dashboard.site import page, render_page

DONE = {"approve": "approved: they go on", "reject": "rejected: their events are discarded"}


@require_POST
@page(VIEW)
def approve_many(request: HttpRequest) -> HttpResponse:
    return act(request, "approve")


@require_POST
@page(VIEW)
def reject_many(request: HttpRequest) -> HttpResponse:
    return act(request, "reject")


def act(request: HttpRequest, verb: Verb) -> HttpResponse:
    """First POST: what would happen. Confirmed: done. A page of them at most was ticked."""
    actor = get_actor(request)
    back = get_return_url(request.POST)
    waiting = find_ticked(request.POST)
    if not request.POST.get("confirmed"):
        return confirm(request, verb, waiting, back)
    note = request.POST.get("note", "").strip()
    outcome = decide_all(waiting.order_by("held_at", "id"), verb, actor, note)
    if outcome.done:
        messages.success(request, f"{outcome.done:,} {DONE[verb]}.")
    late = len(get_ids(request.POST)) - outcome.done
    if late:
        messages.warning(request, f"{late:,} had been decided on before: nothing was changed.")
    return redirect(back)


def confirm(
    request: HttpRequest, verb: Verb, waiting: QuerySet[Approval], back: str
) -> HttpResponse:
    rows = list(waiting.order_by("held_at", "id"))
    if not rows:
        messages.warning(request, "None of these waits any more: nothing to do.")
        return redirect(back)
    one = "this answer" if len(rows) == 1 else f"these {len(rows):,} answers"
    context: dict[str, Any] = {
        "verb": verb,
        "rows": rows,
        "params": ApprovalFilter.from_query(request.POST).get_params(),
        "action": reverse(f"approvals:{verb}_many"),
        "back": back,
        "note_max": NOTE_MAX_CHARS,
    }
    title = f"{verb.capitalize()} {one}?"
    return render_page(request, "approvals/confirm_many.html", title, context, parents=(APPROVALS,))


def get_ids(form: QueryDict) -> list[Any]:
    texts = form.getlist("approval")[:PAGE_SIZE]
    return [pk for text in texts if (pk := Approval.parse_public_id(text))]


def find_ticked(form: QueryDict) -> QuerySet[Approval]:
    rows = Approval.objects.select_related(*RELATED)
    return rows.filter(pk__in=get_ids(form), decision=Decision.WAITING)


def get_return_url(form: QueryDict) -> str:
    query = QueryDict(mutable=True)
    query.update(ApprovalFilter.from_query(form).get_params())
    return f"{reverse('approvals:list')}?{query.urlencode()}"
