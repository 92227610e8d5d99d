"""The roles and what each may do: the one table that page, API and WebSocket obey.

A permission that a later model brings goes into the table and is given by a migration of that
app which calls `apply_roles` again.
"""

from __future__ import annotations

from typing import Any

VIEWER = frozenset(
    {
        "approvals.view_approval",
        "dashboard.view_statussample",
        "destinations.view_destination",
        "destinations.view_inboxitem",
        "events.view_attempt",
        "events.view_event",
        "events.view_eventbody",
        "ingest.view_refusedrequest",
        "llm.view_budget",
        "llm.view_llmbatch",
        "llm.view_costhour",
        "llm.view_llmcall",
        "llm.view_provider",
        "llm.view_providermodel",
        "pipelines.view_pipeline",
        "pipelines.view_pipelineversion",
        "sources.view_source",
    }
)
SUPPORT = VIEWER | {
    "approvals.decide_approval",
    "events.retry_event",
    "events.discard_event",
    # It is verified again, so that nobody can let in what is not signed.
    "ingest.accept_refusedrequest",
    "ingest.discard_refusedrequest",
    "ingest.read_refusedrequest",
}
# No one, not even an administrator, changes what has happened: events, attempts, the ledger and
# the audit are read, retried and discarded, never edited.
ADMIN = SUPPORT | {
    "accounts.add_apitoken",
    "accounts.change_apitoken",
    "accounts.delete_apitoken",
    "accounts.view_apitoken",
    "accounts.add_user",
    "accounts.change_user",
    "accounts.delete_user",
    "accounts.view_user",
    "audit.view_auditentry",
    "auth.view_group",
    "destinations.add_destination",
    "destinations.change_destination",
    "destinations.delete_destination",
    "llm.add_budget",
    "llm.change_budget",
    "llm.delete_budget",
    "llm.add_provider",
    "llm.change_provider",
    "llm.delete_provider",
    "llm.add_providermodel",
    "llm.change_providermodel",
    "llm.delete_providermodel",
    "pipelines.add_pipeline",
    "pipelines.add_pipelineversion",
    "pipelines.change_pipeline",
    "pipelines.delete_pipeline",
    "pipelines.delete_pipelineversion",
    "sources.add_secret",
    "sources.change_secret",
    "sources.delete_secret",
    "sources.view_secret",
    "sources.add_source",
    "sources.change_source",
    "sources.delete_source",
}
ROLES: dict[str, frozenset[str]] = {
    "admin": frozenset(ADMIN),
    "support": frozenset(SUPPORT),
    "viewer": VIEWER,
}


class UnknownRole(ValueError):
    """There is no role of that name."""

    code = "unknown_role"
    permanent = True

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no role “{name}”: choose one of {', '.join(ROLES)}.")


def apply_roles(apps: Any, using: str = "default") -> None:
    """Make the three groups hold what the table says. `apps` is the registry of a migration.

    Permissions of models that do not exist yet at that migration are left for a later one.
    """
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permission_model.objects.using(using).select_related("content_type")
    }
    for name, wanted in ROLES.items():
        group, _ = group_model.objects.using(using).get_or_create(name=name)
        group.permissions.set(known[each] for each in sorted(wanted) if each in known)
