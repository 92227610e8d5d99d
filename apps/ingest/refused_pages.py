"""The pages of refused requests: why each was refused, and taking them in after a repair."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import User
from apps.dashboard.site import page, render_page
from apps.events.paging import get_page
from apps.events.payload import read_payload
from apps.events.search import PERIODS
from apps.ingest.acceptance import Acceptance, Outcome, StillRefused, discard
from apps.ingest.models import RefusedRequest, State
from apps.ingest.reasons import get_advice, get_label
from apps.ingest.refused_content import mask_headers, mask_url, unpack
from apps.ingest.refused_filter import RefusedFilter
from apps.sources.models import Source
from apps.streams.errors import QueueError
from apps.vault.vault import VaultError

REFUSED = ("Refused requests", "refused:list")
GROUPS_SHOWN = 50
PERMISSIONS = {
    "accept": "ingest.accept_refusedrequest",
    "discard": "ingest.discard_refusedrequest",
}
READ = "ingest.read_refusedrequest"
TOO_LATE = "Somebody has accepted or discarded it meanwhile: nothing was done."


@require_safe
@page("ingest.view_refusedrequest")
def refused_list(request: HttpRequest) -> HttpResponse:
    """The reasons with their numbers, and the requests."""
    wanted = RefusedFilter.from_query(request.GET)
    rows = RefusedRequest.objects.select_related("source").defer("content")
    context = {
        "wanted": wanted,
        "params": wanted.get_params(),
        "query": get_query(request),
        "is_filtered": wanted != RefusedFilter(state=State.KEPT),
        "groups": get_groups(),
        "page": with_labels(get_page(wanted.apply(rows), request.GET)),
        "states": State.choices,
        "periods": [(value, label) for value, (label, _) in PERIODS.items()],
        "sources": Source.objects.values_list("slug", "name"),
        "codes": get_codes(),
    } | get_rights(request)
    if request.headers.get("HX-Request"):
        return render(request, "refused/table.html", context)
    return render_page(request, "refused/list.html", "Refused requests", context)


def get_groups() -> list[dict[str, Any]]:
    """What is kept: source and reason with their number, the commonest first."""
    groups = (
        RefusedRequest.objects.filter(state=State.KEPT)
        .values("source__slug", "source__name", "code")
        .annotate(count=Count("pk"))
        .order_by("-count", "source__slug", "code")
    )
    return [{**group, "label": get_label(group["code"])} for group in groups[:GROUPS_SHOWN]]


def get_codes() -> list[tuple[str, str]]:
    codes = RefusedRequest.objects.order_by("code").values_list("code", flat=True).distinct()
    return [(code, get_label(code)) for code in codes[:GROUPS_SHOWN]]


def with_labels(found: Any) -> Any:
    for row in found.rows:
        row.label = get_label(row.code)
    return found


@require_safe
@page("ingest.view_refusedrequest")
def refused_page(request: HttpRequest, public_id: str) -> HttpResponse:
    """One request: the reason, what to do, and as much of it as this reader may see."""
    refused = find_refused(public_id)
    if refused is None:
        return render_page(
            request, "refused/not_found.html", "Not found", {"public_id": public_id},
            parents=(REFUSED,), status=404,
        )  # fmt: skip
    context = {
        "refused": refused,
        "label": get_label(refused.code),
        "advice": get_advice(refused.code),
        "is_kept": refused.state == State.KEPT,
        "verdict": get_verdict(refused) if request.GET.get("verify") else None,
    }
    context |= get_content(request, refused) | get_rights(request)
    return render_page(
        request, "refused/request.html", f"Request {refused.public_id}", context, parents=(REFUSED,)
    )


def find_refused(public_id: str) -> RefusedRequest | None:
    pk = RefusedRequest.parse_public_id(public_id)
    found = RefusedRequest.objects.select_related("source", "settled_by").defer("content")
    return found.filter(pk=pk).first() if pk else None


def get_verdict(refused: RefusedRequest) -> dict[str, Any]:
    """Whether it passes with the source as it is now, and why not. Changes nothing."""
    try:
        Acceptance().verify(refused)
    except StillRefused as error:
        return {"passes": False, "reason": error.reason, "advice": get_advice(error.code)}
    except VaultError as error:
        return {"passes": False, "reason": str(error), "advice": ""}
    return {"passes": True}


def get_content(request: HttpRequest, refused: RefusedRequest) -> dict[str, Any]:
    """Headers, with credentials only begun, and the body; nothing for who may not read them."""
    if not request.user.has_perm(READ) or refused.state != State.KEPT:
        return {"may_read": request.user.has_perm(READ)}
    try:
        content = refused.content
    except VaultError as error:
        return {"may_read": True, "unreadable": str(error)}
    if content is None:
        return {"may_read": True}
    whole = unpack(content)
    content_type = whole.headers.get(b"content-type", b"").decode("latin-1")
    return {
        "may_read": True,
        "line": f"{whole.method} {mask_url(whole.url)}",
        "headers": mask_headers(whole.headers),
        "payload": read_payload(whole.body, content_type),
    }


def get_rights(request: HttpRequest) -> dict[str, bool]:
    """Which buttons this reader gets."""
    may = {verb: request.user.has_perm(name) for verb, name in PERMISSIONS.items()}
    return {
        "may_accept": may["accept"],
        "may_discard": may["discard"],
        "may_act": any(may.values()),
    }


def get_query(request: HttpRequest) -> str:
    """The query of the address without the page, for the links to other pages."""
    query = request.GET.copy()
    for name in ("older", "newer"):
        query.pop(name, None)
    return query.urlencode()


def get_actor(request: HttpRequest, verb: str) -> User:
    """Who acts; 403 for somebody who may not."""
    user = request.user
    if not isinstance(user, User) or not user.has_perm(PERMISSIONS[verb]):
        raise PermissionDenied
    return user


@require_POST
@page("ingest.view_refusedrequest")
def accept_one(request: HttpRequest, public_id: str) -> HttpResponse:
    """Verify it again and make it an event, told in a message."""
    actor = get_actor(request, "accept")
    refused = find_refused(public_id)
    if refused is None:
        messages.error(request, "There is no such request.")
        return redirect("refused:list")
    try:
        outcome = Acceptance().accept(refused, actor)
    except StillRefused as error:
        messages.error(request, f"Still refused: {error.reason}")
    except (QueueError, VaultError) as error:
        messages.error(request, f"{error} Nothing has changed: try again later.")
    else:
        tell(request, refused, outcome)
    return redirect("refused:request", public_id)


def tell(request: HttpRequest, refused: RefusedRequest, outcome: Outcome) -> None:
    if outcome is Outcome.ACCEPTED:
        messages.success(request, f"It was accepted as {refused.event_public_id}.")
    elif outcome is Outcome.DUPLICATE:
        event = refused.event_public_id
        messages.success(request, f"It had come another way already, as {event}: nothing new.")
    else:
        messages.warning(request, TOO_LATE)


@require_POST
@page("ingest.view_refusedrequest")
def discard_one(request: HttpRequest, public_id: str) -> HttpResponse:
    """Delete its content for good."""
    actor = get_actor(request, "discard")
    refused = find_refused(public_id)
    if refused is None:
        messages.error(request, "There is no such request.")
    elif discard(refused, actor):
        messages.success(request, "It was discarded, and its content deleted.")
    else:
        messages.warning(request, TOO_LATE)
    return redirect("refused:list")


def get_return_url(wanted: RefusedFilter) -> str:
    query = QueryDict(mutable=True)
    query.update(wanted.get_params())
    return f"{reverse('refused:list')}?{query.urlencode()}"


def get_kept(wanted: RefusedFilter) -> QuerySet[RefusedRequest]:
    """What can still be accepted or discarded, the oldest first."""
    rows = wanted.apply(RefusedRequest.objects.filter(state=State.KEPT))
    return rows.order_by("received_at", "id")
