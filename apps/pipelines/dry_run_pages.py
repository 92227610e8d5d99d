"""A dry run: the draft on one event, one paid call, nothing delivered, the event untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.events.models import Event, EventBody
from apps.events.payload import pretty_json
from apps.llm.provider import LLMError
from apps.llm.trial import DRY_RUN, Trial, try_once
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import prepare
from apps.pipelines.samples import choose, try_on

FILTERED = "The draft's filter leaves this event out: the model is not asked."


@dataclass(frozen=True)
class DryRun:
    """`trial` where there was a call; else `sentence` says why not."""

    trial: Trial | None = None
    sentence: str = ""

    @property
    def shown_answer(self) -> str:
        return show_answer(self.trial.answer) if self.trial else ""


def run_dry(event: Event, version: PipelineVersion) -> DryRun:
    """Ask the model for this event, as `version` would. Must not run inside a transaction."""
    body = EventBody.objects.get(event=event)
    try:
        request = prepare(version, bytes(body.raw), body.content_type)
        if request is None:
            return DryRun(sentence=FILTERED)
        return DryRun(try_once(event, version, request, DRY_RUN, again=True))
    except (PrepareError, LLMError) as error:
        return DryRun(sentence=str(error))


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
        "is_stale": request.method == "POST" and not is_same,
        "current_answer": show_answer(event.answer) if event and event.answer is not None else "",
    }
    title = f"Dry run of {pipeline.name}"
    return render_page(request, "pipelines/dry_run.html", title, context, parents=(PIPELINES,))


def show_answer(answer: object) -> str:
    return answer if isinstance(answer, str) else pretty_json(answer)
