"""The audit, read only; and how model admins write to it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.audit.models import AuditEntry
from apps.dashboard.cells import show_time


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]
    """A model admin whose every act is an audit entry: what, by whom, which fields; no values."""

    list_filter_sheet = False
    compressed_fields = True
    warn_unsaved_form = False

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> AuditEntry:
        return AuditEntry.record(request.user, f"{obj._meta.model_name}.create", obj)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> AuditEntry:
        fields = get_changed_fields(message)
        return AuditEntry.record(request.user, f"{obj._meta.model_name}.update", obj, fields=fields)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[AuditEntry]:
        return [
            AuditEntry.record(request.user, f"{obj._meta.model_name}.delete", obj)
            for obj in queryset
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["show_save_and_add_another"] = False
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deletion in bulk: each is confirmed by itself."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


def get_changed_fields(message: Any) -> list[str]:
    """The names of fields in Django's change message."""
    if not isinstance(message, list):
        return []
    return [name for part in message for name in part.get("changed", {}).get("fields", [])]


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows that only the system writes."""

    show_full_result_count = False
    list_filter_sheet = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["when", "actor_name", "action", "object_type", "object_id"]
    list_filter = ["action", "object_type", "actor_name"]
    search_fields = ["actor_name", "object_id"]
    fields = ["when", "actor_name", "action", "object_type", "object_id", "details"]

    @display(description="When", ordering="at")
    def when(self, entry: AuditEntry) -> str:
        return show_time(entry.at)
