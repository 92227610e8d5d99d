"""The page of a dry run: what it costs first, then the two answers side by side."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.dry_run import run_dry, show_answer
from apps.pipelines.models import Pipeline
from apps.pipelines.samples import choose, try_on


@page("pipelines.change_pipeline")
def dry_run(request: HttpRequest, pk: int) -> HttpResponse:
    """What it costs at most, first; a POST makes the call, for the draft that was shown."""
    if not request.user.has_perm("events.view_eventbody"):
        raise PermissionDenied
    pipeline = get_object_or_404(Pipeline.objects.select_related("current_version"), pk=pk)
    draft = pipeline.get_draft()
    samples, event = choose(pipeline, request.GET.get("event", ""))
    version = draft.get_version()
    is_same = request.POST.get("token") == draft.token
    run = None
    if request.method == "POST" and event and is_same:
        run = run_dry(event, version)
        cost = str(run.trial.cost_usd) if run.trial else "0"
        AuditEntry.record(request.user, "draft.dry_run", pipeline, event=event.public_id, usd=cost)
    context: dict[str, Any] = {
        "pipeline": pipeline,
        "draft": draft,
        "event": event,
        "samples": samples,
        "preview": try_on(version, event),
        "run": run,
        "has_stand_ins": bool(version.fallbacks),
        "is_stale": request.method == "POST" and not is_same,
        "current_answer": show_answer(event.answer) if event and event.answer is not None else "",
    }
    title = f"Dry run of {pipeline.name}"
    return render_page(request, "pipelines/dry_run.html", title, context, parents=(PIPELINES,))
