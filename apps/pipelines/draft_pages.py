"""The editor: the draft beside a real event, checked, saved, discarded."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.pipelines.differences import find_differences
from apps.pipelines.draft_form import DraftForm
from apps.pipelines.models import DraftConflict, Pipeline, PipelineVersion
from apps.pipelines.samples import choose, try_on

PIPELINES = ("Pipelines", "admin:pipelines_pipeline_changelist")


@page("pipelines.change_pipeline")
def edit_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """A POST saves; with `check` or `preview` it only shows what comes of what was typed."""
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    form = DraftForm(pipeline.get_draft(), request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return show_editor(request, form)
    if "check" in request.POST or "preview" in request.POST:
        return show_editor(request, form, is_checked="check" in request.POST)
    try:
        save(request, form)
    except DraftConflict as conflict:
        return show_conflict(request, form, conflict)
    if "review" in request.POST:
        return redirect("admin:pipelines_draft_publish", pk)
    chosen = urlencode({"event": request.POST.get("event", "")})
    if "dry_run" in request.POST:
        return redirect(f"{reverse('admin:pipelines_dry_run', args=[pk])}?{chosen}")
    messages.success(request, "The draft is saved. New events still start with what is published.")
    return redirect(f"{reverse('admin:pipelines_draft', args=[pk])}?{chosen}")


def save(request: HttpRequest, form: DraftForm) -> None:
    before, typed = form.draft.get_version(), form.get_version()
    with transaction.atomic():
        draft = form.draft.pipeline.save_draft(
            request.user, form.cleaned_data["token"], typed.get_config()
        )
        changed = [each.name for each in find_differences(before, typed)]
        AuditEntry.record(request.user, "draft.save", draft.pipeline, fields=changed)


def show_conflict(request: HttpRequest, form: DraftForm, conflict: DraftConflict) -> HttpResponse:
    """Nothing typed is lost: saving once more, with the new token, replaces what they wrote."""
    pipeline = form.draft.pipeline
    theirs = pipeline.get_draft()
    typed = form.get_version()
    data = request.POST.copy()
    data["token"] = theirs.token
    context = {
        "conflict": str(conflict),
        "differences": find_differences(theirs.get_version(), typed),
    }
    return show_editor(request, DraftForm(theirs, data), status=409, **context)


def show_editor(
    request: HttpRequest, form: DraftForm, *, status: int = 200, **shown: Any
) -> HttpResponse:
    pipeline = form.draft.pipeline
    current = pipeline.current_version
    context = {
        "pipeline": pipeline,
        "form": form,
        "draft": form.draft,
        "current": current,
        "is_behind": form.draft.is_saved and form.draft.based_on != current,
        **get_preview(request, form),
        **shown,
    }
    title = f"Draft of {pipeline.name}"
    return render_page(
        request, "pipelines/editor.html", title, context, parents=(PIPELINES,), status=status
    )


@require_POST
@page("pipelines.change_pipeline")
def preview_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Fragment: what was typed, on the chosen event. Saves nothing, pays nothing."""
    pipeline = get_object_or_404(Pipeline, pk=pk)
    form = DraftForm(pipeline.get_draft(), request.POST)
    form.is_valid()
    return render(request, "pipelines/preview.html", {"form": form, **get_preview(request, form)})


def get_preview(request: HttpRequest, form: DraftForm) -> dict[str, Any]:
    """Nothing of an event for somebody who may not read bodies."""
    if not request.user.has_perm("events.view_eventbody"):
        return {"may_preview": False}
    wanted = request.POST.get("event") or request.GET.get("event", "")
    samples, event = choose(form.draft.pipeline, wanted)
    version = get_version(form)
    return {
        "may_preview": True,
        "samples": samples,
        "event": event,
        "preview": try_on(version, event) if version else None,
    }


def get_version(form: DraftForm) -> PipelineVersion | None:
    """What to preview: what was typed, if it can be used."""
    if not form.is_bound:
        return form.get_shown_version()
    return form.get_version() if form.is_valid() else None


@require_POST
@page("pipelines.change_pipeline")
def discard_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Back to what is published. Only the draft that the person has seen."""
    pipeline = get_object_or_404(Pipeline, pk=pk)
    try:
        with transaction.atomic():
            pipeline.discard_draft(request.POST.get("token", ""))
            AuditEntry.record(request.user, "draft.discard", pipeline)
        messages.success(request, "The draft is discarded: this is what is published.")
    except DraftConflict as conflict:
        messages.error(request, str(conflict).replace("saved", "discarded"))
    return redirect("admin:pipelines_draft", pk)
