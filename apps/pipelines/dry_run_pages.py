"""The page of a dry run: what it costs first, then the two answers side by side."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.llm.models import Subject
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.dry_run import DryRun, run_dry, show_answer
from apps.pipelines.models import Pipeline, PipelineVersion, Sample
from apps.pipelines.samples import choose, try_on


@page("pipelines.change_pipeline")
def dry_run(request: HttpRequest, pk: int) -> HttpResponse:
    """What it costs at most, first; a POST makes the call, for the draft that was shown."""
    if not request.user.has_perm("events.view_eventbody"):
        raise PermissionDenied
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    draft = pipeline.get_draft()
    choices = choose(pipeline, request.GET.get("event", ""))
    version = draft.get_version()
    is_same = request.POST.get("token") == draft.token
    run = None
    if request.method == "POST" and choices.chosen and is_same:
        run = run_and_record(request, choices.chosen, version)
    context: dict[str, Any] = {
        "pipeline": pipeline,
        "draft": draft,
        "choices": choices,
        "preview": try_on(version, choices.chosen),
        "run": run,
        "has_stand_ins": bool(version.fallbacks),
        "is_stale": request.method == "POST" and not is_same,
        "beside": show_beside(choices.chosen),
    }
    title = f"Dry run of {pipeline.name}"
    return render_page(request, "pipelines/dry_run.html", title, context, parents=(PIPELINES,))


def run_and_record(request: HttpRequest, subject: Subject, version: PipelineVersion) -> DryRun:
    run = run_dry(subject, version)
    cost = str(run.trial.cost_usd) if run.trial else "0"
    tried = {"sample" if isinstance(subject, Sample) else "event": subject.public_id}
    AuditEntry.record(request.user, "draft.dry_run", version.pipeline, **tried, usd=cost)
    return run


def show_beside(subject: Subject | None) -> str:
    """The event's answer, or what the sample's should say."""
    if isinstance(subject, Sample):
        return subject.shown_expected
    return show_answer(subject.answer) if subject and subject.answer is not None else ""
