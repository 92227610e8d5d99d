"""Destinations, and what was delivered to the built-in inbox."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from apps.audit.admin import AuditedAdmin, ReadOnlyAdmin
from apps.dashboard.cells import show_time
from apps.dashboard.site import render_page
from apps.dashboard.templatetags.words import in_one_line
from apps.destinations.checks import find_refusal
from apps.destinations.forms import DestinationForm
from apps.destinations.models import Destination, InboxItem
from apps.events.ids import get_public_id
from apps.pipelines.models import Pipeline


@admin.register(Destination)
class DestinationAdmin(AuditedAdmin):
    form = DestinationForm
    list_display = ["name", "slug", "kind_label", "url"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}

    @display(description="Kind", ordering="kind")
    def kind_label(self, destination: Destination) -> str:
        return destination.get_kind_display()

    def get_fields(self, request: HttpRequest, obj: Destination | None = None) -> list[str]:
        """A reader never gets the field of the secret, not even empty."""
        fields = ["name", "slug", "kind", "url", "secret"]
        may_edit = self.has_change_permission(request, obj) or (
            obj is None and self.has_add_permission(request)
        )
        return fields if may_edit else fields[:-1]

    def has_delete_permission(self, request: HttpRequest, obj: Destination | None = None) -> bool:
        """Not while a version of a pipeline delivers to it."""
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or not obj.pipeline_versions.exists())

    def save_model(
        self, request: HttpRequest, obj: Destination, form: DestinationForm, change: bool
    ) -> None:
        obj.secret = form.cleaned_data["secret"]
        super().save_model(request, obj, form, change)
        if obj.kind == Destination.Kind.HTTP and (refusal := find_refusal(obj.url)):
            messages.warning(request, f"It is saved, but: {refusal}")
        obj.made_secret = form.made_secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Destination, post_url_continue: str | None = None
    ) -> HttpResponse:
        """On to the first pipeline, where there is none yet."""
        if shown := self._show_made_secret(request, obj):
            return shown
        if Pipeline.objects.exists() or not request.user.has_perm("pipelines.add_pipeline"):
            answer: HttpResponse = super().response_add(request, obj, post_url_continue)
            return answer
        messages.success(request, f"“{obj.name}” is ready. Now say what the model is asked.")
        return redirect("admin:pipelines_pipeline_add")

    def response_change(self, request: HttpRequest, obj: Destination) -> HttpResponse:
        return self._show_made_secret(request, obj) or super().response_change(request, obj)

    def _show_made_secret(self, request: HttpRequest, obj: Destination) -> HttpResponse | None:
        """The one page that ever shows it; None where none was made."""
        value = getattr(obj, "made_secret", "")
        if not value:
            return None
        context = {"destination": obj, "value": value}
        parents = (("Destinations", "admin:destinations_destination_changelist"),)
        return render_page(
            request, "destinations/secret_once.html", "Saved", context, parents=parents
        )


@admin.register(InboxItem)
class InboxItemAdmin(ReadOnlyAdmin):
    list_display = ["when", "event", "destination", "short_answer"]
    list_display_links = None
    list_filter = ["destination"]
    list_select_related = ["destination"]

    @display(description="Event")
    def event(self, item: InboxItem) -> str:
        public_id = get_public_id(item.event_id)
        url = reverse("events:event", args=[public_id])
        return format_html('<a class="pa-id" href="{}">{}</a>', url, public_id)

    @display(description="Answer")
    def short_answer(self, item: InboxItem) -> str:
        return format_html('<span class="pa-answer">{}</span>', in_one_line(item.answer)[:300])

    @display(description="Delivered", ordering="delivered_at")
    def when(self, item: InboxItem) -> str:
        return show_time(item.delivered_at)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer: HttpResponse = super().changelist_view(
            request, {"title": "Inbox", **(extra_context or {})}
        )
        return answer
