"""The editor: the draft beside an event or a sample, checked, saved, discarded."""

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
from apps.pipelines.sample_keeping import check_reader, paste, pin
from apps.pipelines.sample_models import SampleRefused
from apps.pipelines.samples import choose, try_on

PIPELINES = ("Pipelines", "admin:pipelines_pipeline_changelist")


@page("pipelines.change_pipeline")
def edit_draft(request: HttpRequest, pk: int) -> HttpResponse:
    """A POST saves; with `check` or `preview` it only shows what comes of what was typed.

    With `paste` or `pin` it keeps a sample, and what was typed in the draft stays as it is.
    """
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    form = DraftForm(pipeline.get_draft(), request.POST or None)
    if "paste" in request.POST or "pin" in request.POST:
        return show_editor(request, form, **keep_sample(request, pipeline))
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


def keep_sample(request: HttpRequest, pipeline: Pipeline) -> dict[str, Any]:
    """What was pasted, or the event that is shown. Says which is shown next, or what is wrong."""
    check_reader(request)
    chosen = request.POST.get("event", "")
    try:
        if "pin" in request.POST:
            sample = pin(request, pipeline, chosen)
        else:
            sample = paste(request, pipeline, request.POST.get("sample_body", ""))
    except SampleRefused as refused:
        return {"sample_error": str(refused), "sample_body": request.POST.get("sample_body", "")}
    messages.success(request, f"“{sample}” is kept among the samples. That saved no draft.")
    return get_shown(DraftForm(pipeline.get_draft(), request.POST), sample.public_id)


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
    return get_shown(form, request.POST.get("event") or request.GET.get("event", ""))


def get_shown(form: DraftForm, public_id: str) -> dict[str, Any]:
    choices, version = choose(form.draft.pipeline, public_id), get_version(form)
    return {
        "may_preview": True,
        "choices": choices,
        "preview": try_on(version, choices.chosen) if version else None,
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
