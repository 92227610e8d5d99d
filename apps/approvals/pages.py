"""The pages on which people decide: what waits, oldest first, and one answer beside its event."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import User
from apps.approvals import deciding
from apps.approvals.deciding import AlreadyDecided
from apps.approvals.filters import AGES, DECIDED, WAITING, ApprovalFilter
from apps.approvals.models import NOTE_MAX_CHARS, Approval, Decision
from apps.dashboard.site import page, render_page
from apps.events.models import EventBody
from apps.events.payload import pretty_json, read_payload
from apps.llm.output import UnfitAnswer
from apps.pipelines.approval import ON_TIMEOUT_SHORT
from apps.pipelines.models import Pipeline
from apps.pipelines.redaction.config import read_redaction

APPROVALS = ("Approvals", "approvals:list")
VIEW, DECIDE = "approvals.view_approval", "approvals.decide_approval"
PAGE_SIZE = 50
STATES = [(WAITING, "Waiting"), (DECIDED, "Decided"), *Decision.choices[1:]]
RELATED = ("event__source", "event__pipeline_version__pipeline")
DONE = {
    Decision.APPROVED: "{} goes on with the answer as it was.",
    Decision.EDITED: "{} goes on with the edited answer.",
    Decision.REJECTED: "{} is discarded: its answer was rejected.",
}


@require_safe
@page(VIEW)
def approvals(request: HttpRequest) -> HttpResponse:
    """What waits, oldest first, or what was decided, newest first."""
    wanted = ApprovalFilter.from_query(request.GET)
    number = get_number(request)
    rows = wanted.apply(Approval.objects.select_related(*RELATED))
    order = ("held_at", "id") if wanted.state == WAITING else ("-decided_at", "-id")
    start = (number - 1) * PAGE_SIZE
    found = list(rows.order_by(*order)[start : start + PAGE_SIZE + 1])
    context = {
        "wanted": wanted,
        "params": wanted.get_params(),
        "is_waiting": wanted.state == WAITING,
        "is_filtered": wanted != ApprovalFilter(state=WAITING),
        "rows": found[:PAGE_SIZE],
        "before": get_link(wanted, number - 1) if number > 1 else "",
        "after": get_link(wanted, number + 1) if len(found) > PAGE_SIZE else "",
        "states": STATES,
        "ages": list(AGES.items()),
        "pipelines": Pipeline.objects.values_list("slug", "name"),
        "has_pipeline": Pipeline.objects.exclude(current_version__approval={}).exists(),
    } | get_rights(request)
    if request.headers.get("HX-Request"):
        return render(request, "approvals/table.html", context)
    return render_page(request, "approvals/list.html", "Approvals", context)


def get_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def get_link(wanted: ApprovalFilter, number: int) -> str:
    return "?" + urlencode(wanted.get_params() | {"page": number})


def get_rights(request: HttpRequest) -> dict[str, bool]:
    return {"may_decide": request.user.has_perm(DECIDE)}


@require_safe
@page(VIEW)
def approval_page(request: HttpRequest, public_id: str) -> HttpResponse:
    """The answer beside the event's data, and the decision."""
    approval = find(public_id)
    if approval is None:
        return show_not_found(request, public_id)
    if request.headers.get("HX-Request"):
        return render(request, "approvals/state.html", get_context(request, approval))
    return show(request, approval)


def show(
    request: HttpRequest, approval: Approval, error: str = "", status: int = 200
) -> HttpResponse:
    context = get_context(request, approval) | {"error": error}
    if error:  # nothing of what was typed is lost
        context |= {"typed": request.POST.get("answer", ""), "note": request.POST.get("note", "")}
    title = f"Answer of {approval.event.public_id}"
    return render_page(
        request, "approvals/approval.html", title, context, parents=(APPROVALS,), status=status
    )


def show_not_found(request: HttpRequest, public_id: str) -> HttpResponse:
    context = {"public_id": public_id}
    return render_page(
        request, "approvals/not_found.html", "Not found", context, parents=(APPROVALS,), status=404
    )


def get_context(request: HttpRequest, approval: Approval) -> dict[str, Any]:
    event, version = approval.event, approval.event.pipeline_version
    body = None
    if request.user.has_perm("events.view_eventbody"):
        body = EventBody.objects.filter(event=event).first()
    pipeline = get_pipeline(request)
    waiting = find_waiting(pipeline)
    return {
        "approval": approval,
        "event": event,
        "version": version,
        "answer": write(approval.answer),
        "edited": write(approval.edited_answer) if approval.decision == Decision.EDITED else "",
        "typed": write(approval.answer),
        "note": "",
        "schema": pretty_json(version.output_schema) if version.output_schema else "",
        "payload": read_payload(bytes(body.raw), body.content_type) if body else None,
        "on_timeout": ON_TIMEOUT_SHORT[approval.terms.on_timeout],
        "is_late": approval.is_waiting and approval.deadline <= timezone.now(),
        "is_unmasked": read_redaction(version.redaction).reversible,
        "note_max": NOTE_MAX_CHARS,
        "pipeline": pipeline,
        "waiting_count": waiting.count(),
        "next": find_next(approval, waiting),
    } | get_rights(request)


def write(answer: object) -> str:
    """As it is edited: JSON, or the text itself."""
    return answer if isinstance(answer, str) else pretty_json(answer)


def find(public_id: str) -> Approval | None:
    pk = Approval.parse_public_id(public_id)
    return Approval.objects.select_related(*RELATED).filter(pk=pk).first() if pk else None


def find_waiting(pipeline: str) -> QuerySet[Approval]:
    rows = ApprovalFilter(state=WAITING, pipeline=pipeline).apply(Approval.objects.all())
    return rows.order_by("held_at", "id")


def find_next(approval: Approval, waiting: QuerySet[Approval]) -> Approval | None:
    """The one that waits next after it, or else the oldest of all."""
    others = waiting.exclude(pk=approval.pk)
    later = Q(held_at__gt=approval.held_at) | Q(held_at=approval.held_at, id__gt=approval.pk)
    return others.filter(later).first() or others.first()


def get_pipeline(request: HttpRequest) -> str:
    """Of the list that the reader came from: the next one is of it, too."""
    return (request.POST or request.GET).get("pipeline", "")[:60]


def get_actor(request: HttpRequest) -> User:
    """Who decides; 403 for somebody who may not."""
    user = request.user
    if not isinstance(user, User) or not user.has_perm(DECIDE):
        raise PermissionDenied
    return user


@require_POST
@page(VIEW)
def approve_one(request: HttpRequest, public_id: str) -> HttpResponse:
    """Deliver what stands in the form: the answer as it was, or what was made of it."""
    actor = get_actor(request)
    approval = find(public_id)
    if approval is None:
        return show_not_found(request, public_id)
    text = request.POST.get("answer", "").replace("\r\n", "\n")
    note = request.POST.get("note", "").strip()
    try:
        if is_unchanged(approval, text):
            deciding.approve(approval, actor, note)
        else:
            deciding.edit(approval, text, actor, note)
    except UnfitAnswer as error:
        return show(request, approval, f"{error} Nothing was decided.", status=400)
    except AlreadyDecided as error:
        return too_late(request, approval, error)
    return go_on(request, approval)


def is_unchanged(approval: Approval, text: str) -> bool:
    if text.strip() == write(approval.answer).replace("\r\n", "\n").strip():
        return True
    if not approval.event.pipeline_version.output_schema:
        return False
    try:
        typed = json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return False
    return typed == json.dumps(approval.answer, sort_keys=True)


@require_POST
@page(VIEW)
def reject_one(request: HttpRequest, public_id: str) -> HttpResponse:
    """Deliver nothing."""
    actor = get_actor(request)
    approval = find(public_id)
    if approval is None:
        return show_not_found(request, public_id)
    try:
        deciding.reject(approval, actor, request.POST.get("note", "").strip())
    except AlreadyDecided as error:
        return too_late(request, approval, error)
    return go_on(request, approval)


def too_late(request: HttpRequest, approval: Approval, error: AlreadyDecided) -> HttpResponse:
    messages.warning(request, str(error))
    return redirect("approvals:approval", approval.public_id)


def go_on(request: HttpRequest, approval: Approval) -> HttpResponse:
    """On to the next that waits, or back to the list."""
    text = DONE[Decision(approval.decision)].format(approval.event.public_id)
    pipeline = get_pipeline(request)
    query = f"?{urlencode({'pipeline': pipeline})}" if pipeline else ""
    following = find_next(approval, find_waiting(pipeline))
    if following is None:
        messages.success(request, f"{text} That was the last one.")
        return redirect(reverse("approvals:list") + query)
    messages.success(request, text)
    return redirect(reverse("approvals:approval", args=[following.public_id]) + query)
