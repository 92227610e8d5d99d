"""Versions: who changed what and why, the difference of any two, publishing and rolling back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_safe

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.pipelines.differences import describe_changes, find_differences
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.models import (
    NOTE_MAX_CHARS,
    DraftConflict,
    DraftUnusable,
    Pipeline,
    PipelineVersion,
)

VERSIONS_SHOWN = 50
DRAFT = "draft"


@dataclass(frozen=True)
class Row:
    """A version and what it changed of the one before."""

    version: PipelineVersion
    changed: str
    is_current: bool

    @property
    def number(self) -> str:
        return str(self.version.number)


@require_safe
@page("pipelines.view_pipelineversion")
def versions(request: HttpRequest, pk: int) -> HttpResponse:
    """Newest first; with `from` and `to` (numbers, or `draft`) their difference below."""
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    rows, older = list_versions(pipeline, request.GET.get("before", ""))
    names = [request.GET.get(name, "") for name in ("from", "to")]
    old, new = (find_version(pipeline, name) for name in names)
    context: dict[str, Any] = {
        "pipeline": pipeline,
        "rows": rows,
        "older": older,
        "draft": pipeline.get_draft(),
        "from": names[0] or (str(rows[1].version.number) if len(rows) > 1 else ""),
        "to": names[1] or (str(rows[0].version.number) if rows else ""),
        "old": old,
        "new": new,
        "compared": " → ".join(name if name == DRAFT else f"v{name}" for name in names),
        "differences": find_differences(old, new) if old and new else [],
    }
    title = f"Versions of {pipeline.name}"
    return render_page(request, "pipelines/versions.html", title, context, parents=(PIPELINES,))


def list_versions(pipeline: Pipeline, before: str) -> tuple[list[Row], int | None]:
    """A page of rows, and the number before which the next page begins."""
    found = pipeline.versions.select_related("destination", "created_by").order_by("-number")
    if before.isdecimal() and len(before) < 10:
        found = found.filter(number__lt=int(before))
    page_of = list(found[: VERSIONS_SHOWN + 1])
    rows = [
        Row(version, describe_changes(earlier, version), version == pipeline.current_version)
        for version, earlier in zip(page_of, [*page_of[1:], None], strict=True)
    ][:VERSIONS_SHOWN]
    return rows, rows[-1].version.number if len(page_of) > VERSIONS_SHOWN else None


def find_version(pipeline: Pipeline, name: str) -> PipelineVersion | None:
    """By its number, or the draft as a version; None for any other name."""
    if name == DRAFT:
        return pipeline.get_draft().get_version()
    if not name.isdecimal() or len(name) > 9:
        return None
    return pipeline.versions.filter(number=int(name)).first()


@page("pipelines.change_pipeline")
def publish_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """What would change, then the note and the act."""
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    draft = pipeline.get_draft()
    if not draft.is_saved:
        messages.info(request, "There is no draft to publish.")
        return redirect("admin:pipelines_draft", pk)
    if request.method == "POST":
        return act(request, pipeline, publish=request.POST.get("token", ""))
    return review(request, pipeline, draft.get_version(), f"Publish the draft of {pipeline.name}?")


@page("pipelines.change_pipeline")
def roll_back(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """The same for an older version's content."""
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    version = pipeline.versions.filter(number=number).first()
    if version is None or version == pipeline.current_version:
        raise Http404
    if request.method == "POST":
        return act(request, pipeline, number=number)
    return review(request, pipeline, version, f"Roll {pipeline.name} back to version {number}?")


def review(
    request: HttpRequest, pipeline: Pipeline, version: PipelineVersion, title: str
) -> HttpResponse:
    current = pipeline.current_version
    context = {
        "pipeline": pipeline,
        "draft": pipeline.get_draft(),
        "version": version,
        "current": current,
        "compared": f"What would change of version {current.number}" if current else "",
        "differences": find_differences(current, version) if current else [],
        "note_max_chars": NOTE_MAX_CHARS,
    }
    return render_page(request, "pipelines/review.html", title, context, parents=(PIPELINES,))


def act(
    request: HttpRequest, pipeline: Pipeline, *, publish: str = "", number: int = 0
) -> HttpResponse:
    """Publish the draft of that token, or roll back to that number; say what came of it."""
    note = request.POST.get("note", "").strip()[:NOTE_MAX_CHARS]
    seen = request.POST.get("replaces", "")
    replaces = int(seen) if seen.isdecimal() and len(seen) < 10 else None
    try:
        with transaction.atomic():
            if number:
                version = pipeline.roll_back(request.user, number, replaces=replaces, note=note)
                done: dict[str, Any] = {"rolled_back_to": number}
            else:
                version = pipeline.publish_draft(
                    request.user, publish, replaces=replaces, note=note
                )
                done = {}
            verb = "rollback" if number else "publish"
            record = {"version": version.number, "replaces": replaces, **done}
            AuditEntry.record(request.user, f"pipeline.{verb}", pipeline, **record)
    except (DraftConflict, DraftUnusable) as error:
        messages.error(request, str(error).replace("saved", "published"))
        return redirect(request.path)
    messages.success(
        request,
        f"Version {version.number} is what new events start with. "
        "Events that have begun keep theirs.",
    )
    return redirect("admin:pipelines_versions", pipeline.pk)
