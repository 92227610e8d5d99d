"""The side bar: what this reader may see, with the number of events that wait for a person."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from apps.approvals.models import Approval, Decision
from apps.dashboard.models import StatusSample
from apps.ingest.models import RefusedRequest, State

BADGE_MAX = 999

# group → (title, icon, url name, permission)
GROUPS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "Operate",
        (
            ("Live", "monitoring", "admin:index", "events.view_event"),
            ("Events", "stacks", "events:list", "events.view_event"),
            ("Dead letters", "mark_email_unread", "events:dead_letters", "events.view_event"),
            ("Approvals", "how_to_reg", "approvals:list", "approvals.view_approval"),
            ("Refused", "gpp_maybe", "refused:list", "ingest.view_refusedrequest"),
            (
                "Inbox",
                "inbox",
                "admin:destinations_inboxitem_changelist",
                "destinations.view_inboxitem",
            ),
            ("Costs", "payments", "costs:page", "llm.view_costhour"),
            ("Batches", "inventory_2", "batches:list", "llm.view_llmbatch"),
        ),
    ),
    (
        "Configure",
        (
            ("Sources", "sensors", "admin:sources_source_changelist", "sources.view_source"),
            (
                "Pipelines",
                "account_tree",
                "admin:pipelines_pipeline_changelist",
                "pipelines.view_pipeline",
            ),
            (
                "Destinations",
                "outbound",
                "admin:destinations_destination_changelist",
                "destinations.view_destination",
            ),
            ("Providers", "dns", "admin:llm_provider_changelist", "llm.view_provider"),
            ("Models", "neurology", "admin:llm_providermodel_changelist", "llm.view_providermodel"),
            ("Budgets", "savings", "admin:llm_budget_changelist", "llm.view_budget"),
        ),
    ),
    (
        "Administer",
        (
            ("Users", "group", "admin:accounts_user_changelist", "accounts.view_user"),
            ("API tokens", "key", "admin:accounts_apitoken_changelist", "accounts.view_apitoken"),
            ("Audit", "history", "admin:audit_auditentry_changelist", "audit.view_auditentry"),
        ),
    ),
)


def get_navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups in Unfold's form; a group without an item for this reader is left out."""
    groups = ({"title": title, "items": _get_items(request, rows)} for title, rows in GROUPS)
    return [group for group in groups if group["items"]]


def _get_items(
    request: HttpRequest, rows: tuple[tuple[str, str, str, str], ...]
) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": reverse(url)} | _get_badge(url)
        for title, icon, url, permission in rows
        if request.user.has_perm(permission)
    ]


def _get_badge(url: str) -> dict[str, Any]:
    """How many events are dead or held, by the newest sample: a count would cost on every page.
    Of the others there are not many, and no more are counted than the badge can say.
    """
    if url == "refused:list":
        return _count(RefusedRequest.objects.filter(state=State.KEPT))
    if url == "approvals:list":
        return _count(Approval.objects.filter(decision=Decision.WAITING))
    if url != "events:dead_letters":
        return {}
    newest = StatusSample.objects.values_list("dead_letters", "held").first() or (0, 0)
    waiting = sum(number or 0 for number in newest)
    return {"badge": f"{waiting:,}"} if waiting else {}


def _count(rows: QuerySet[Any]) -> dict[str, Any]:
    count = rows.order_by()[: BADGE_MAX + 1].count()
    return {"badge": f"{BADGE_MAX}+" if count > BADGE_MAX else str(count)} if count else {}
