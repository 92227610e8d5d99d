"""Pipelines: edited as one form, kept as versions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.decorators import display

from apps.audit.admin import AuditedAdmin
from apps.dashboard.local_model import is_local
from apps.dashboard.site import render_page
from apps.destinations.models import Destination
from apps.events.models import Event
from apps.events.payload import pretty_json
from apps.pipelines import draft_pages, dry_run_pages, ready_pages, sample_pages, version_pages
from apps.pipelines.approval_form import FIELDS as APPROVAL
from apps.pipelines.forms import PipelineForm, PipelineNameForm
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.redaction_form import FIELDS as REDACTION
from apps.sources.models import Source

VERSIONS_SHOWN = 50
PIPELINES = ("Pipelines", "admin:pipelines_pipeline_changelist")


@admin.register(Pipeline)
class PipelineAdmin(AuditedAdmin):
    form = PipelineForm
    list_display = ["name", "slug", "version", "destination"]
    list_select_related = ["current_version__destination"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    list_before_template = "pipelines/list_lead.html"
    change_form_before_template = "pipelines/above_form.html"
    change_form_outer_after_template = "pipelines/below_form.html"
    fieldsets = [
        (None, {"fields": ["name", "slug"]}),
        ("Which events, and what of them", {"fields": ["filter", "transform"]}),
        (
            "Model",
            {
                "fields": [
                    *("prompt", "provider", "model", "fallbacks"),
                    *("output_schema", "repair", "max_output_tokens"),
                ]
            },
        ),
        ("Which answers wait for a person", {"fields": APPROVAL}),
        ("What the model must not see", {"fields": REDACTION}),
        ("Result", {"fields": ["destination", "on_unknown"]}),
    ]

    @display(description="Version")
    def version(self, pipeline: Pipeline) -> str:
        current = pipeline.current_version
        return f"v{current.number}" if current else "none"

    @display(description="Delivers to")
    def destination(self, pipeline: Pipeline) -> str:
        current = pipeline.current_version
        return current.destination.name if current else "nowhere yet"

    def get_fieldsets(self, request: HttpRequest, obj: Pipeline | None = None) -> Any:
        """What a pipeline does is edited as its draft, once there is a first version."""
        return self.fieldsets[:1] if obj else self.fieldsets

    def get_form(
        self, request: HttpRequest, obj: Pipeline | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj:
            kwargs["form"] = PipelineNameForm
        return super().get_form(request, obj, change, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("ready/", ready_pages.show_gallery, name="pipelines_ready"),
            path("ready/<slug:slug>/", ready_pages.start_ready, name="pipelines_start_ready"),
            path("<int:pk>/draft/", draft_pages.edit_draft, name="pipelines_draft"),
            path(
                "<int:pk>/draft/preview/",
                draft_pages.preview_draft,
                name="pipelines_draft_preview",
            ),
            path(
                "<int:pk>/draft/discard/",
                draft_pages.discard_draft,
                name="pipelines_draft_discard",
            ),
            path(
                "<int:pk>/draft/publish/",
                version_pages.publish_draft,
                name="pipelines_draft_publish",
            ),
            path("<int:pk>/draft/dry-run/", dry_run_pages.dry_run, name="pipelines_dry_run"),
            path("<int:pk>/samples/", sample_pages.samples, name="pipelines_samples"),
            path(
                "<int:pk>/samples/<slug:public_id>/remove/",
                sample_pages.remove_sample,
                name="pipelines_remove_sample",
            ),
            path("<int:pk>/versions/", version_pages.versions, name="pipelines_versions"),
            path(
                "<int:pk>/versions/<int:number>/roll-back/",
                version_pages.roll_back,
                name="pipelines_roll_back",
            ),
        ]
        return own + super().get_urls()

    def has_delete_permission(self, request: HttpRequest, obj: Pipeline | None = None) -> bool:
        """Not while a source or an event depends on it."""
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or not is_in_use(obj))

    def save_model(
        self, request: HttpRequest, obj: Pipeline, form: PipelineForm, change: bool
    ) -> None:
        """Save the name; a new pipeline begins with what its form says."""
        super().save_model(request, obj, form, change)
        if not change:
            obj.publish(request.user, **form.get_config())

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """First a destination: nobody should fill in a long form to learn that one is missing."""
        if self.has_add_permission(request) and not Destination.objects.exists():
            template, title = "pipelines/no_destination.html", "A pipeline needs a destination"
            return render_page(request, template, title, {}, parents=(PIPELINES,))
        answer: HttpResponse = super().add_view(request, *args, **kwargs)
        return answer

    def response_add(
        self, request: HttpRequest, obj: Pipeline, post_url_continue: str | None = None
    ) -> HttpResponse:
        """On to the first source, where there is none yet: a pipeline alone does nothing."""
        if Source.objects.exists() or not request.user.has_perm("sources.add_source"):
            answer: HttpResponse = super().response_add(request, obj, post_url_continue)
            return answer
        messages.success(request, f"“{obj.name}” is ready. Now choose where its events come from.")
        return redirect("admin:sources_source_add")

    def delete_model(self, request: HttpRequest, obj: Pipeline) -> None:
        """Its pointer to the current version would forbid to delete that version."""
        Pipeline.objects.filter(pk=obj.pk).update(current_version=None)
        super().delete_model(request, obj)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        pipeline = self.get_object(request, object_id)
        below = get_below_form(pipeline) if pipeline else {}
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, {**below, **(extra_context or {})}
        )
        return answer


def is_in_use(pipeline: Pipeline) -> bool:
    has_events = Event.objects.filter(pipeline_version__pipeline=pipeline).exists()
    return has_events or pipeline.sources.exists()


def get_below_form(pipeline: Pipeline) -> dict[str, Any]:
    """The history, and whether the answers come from the small model that comes along."""
    versions = pipeline.versions.select_related("destination", "created_by")[:VERSIONS_SHOWN]
    current = pipeline.current_version
    return {
        "pipeline": pipeline,
        "draft": pipeline.get_draft(),
        "versions": [show_version(version, current) for version in versions],
        "is_local_model": current is not None and is_local(current.model),
    }


def show_version(version: PipelineVersion, current: PipelineVersion | None) -> dict[str, Any]:
    return {
        "version": version,
        "schema": pretty_json(version.output_schema) if version.output_schema else "",
        "redaction": pretty_json(version.redaction) if version.redaction else "",
        "approval": pretty_json(version.approval) if version.approval else "",
        "is_current": version == current,
    }
