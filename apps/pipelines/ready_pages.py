"""The gallery of ready pipelines, and the form that starts one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.destinations.models import Destination
from apps.events.payload import pretty_json
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.forms import PipelineNameForm
from apps.pipelines.models import Pipeline
from apps.pipelines.ready import ReadyPipeline, get_ready_pipelines

READY = ("Ready pipelines", "admin:pipelines_ready")


class ReadyForm(PipelineNameForm):
    """What a ready pipeline leaves open."""

    destination = forms.ModelChoiceField(
        queryset=Destination.objects.all(),
        widget=UnfoldAdminSelectWidget(),
        help_text="Where the checked answer goes.",
    )

    class Meta(PipelineNameForm.Meta):
        widgets = {"name": UnfoldAdminTextInputWidget(), "slug": UnfoldAdminTextInputWidget()}

    def __init__(self, ready: ReadyPipeline, data: Any = None) -> None:
        first = list(Destination.objects.values_list("pk", flat=True)[:2])
        initial: dict[str, Any] = {"name": ready.name, "slug": ready.slug}
        if len(first) == 1:
            initial["destination"] = first[0]
        super().__init__(data, initial=initial)


@page("pipelines.add_pipeline")
def show_gallery(request: HttpRequest) -> HttpResponse:
    """A card for each."""
    cards = [
        {
            "ready": ready,
            "sample": pretty_json(ready.samples[0]),
            "answer": pretty_json(ready.answer),
        }
        for ready in get_ready_pipelines().values()
    ]
    title = "Start from a ready pipeline"
    context = {"cards": cards}
    return render_page(request, "pipelines/ready.html", title, context, parents=(PIPELINES,))


@page("pipelines.add_pipeline")
def start_ready(request: HttpRequest, slug: str) -> HttpResponse:
    """A POST makes the pipeline and opens its editor. First a destination, where there is none."""
    ready = get_ready_pipelines().get(slug)
    if ready is None:
        raise Http404
    if not Destination.objects.exists():
        template, title = "pipelines/no_destination.html", "A pipeline needs a destination"
        return render_page(request, template, title, {}, parents=(PIPELINES, READY))
    form = ReadyForm(ready, request.POST or None)
    if request.method == "POST" and form.is_valid():
        pipeline = start(request, ready, form)
        messages.success(
            request,
            f"“{pipeline.name}” is made: version 1 is what you see. Its events come from the "
            "sources that you give it to.",
        )
        return redirect("admin:pipelines_draft", pipeline.pk)
    context = {
        "ready": ready,
        "form": form,
        "schema": pretty_json(ready.config["output_schema"]),
        "redaction": pretty_json(ready.config["redaction"]),
        "samples": [pretty_json(sample) for sample in ready.samples],
    }
    return render_page(
        request, "pipelines/start_ready.html", ready.name, context, parents=(PIPELINES, READY)
    )


def start(request: HttpRequest, ready: ReadyPipeline, form: ReadyForm) -> Pipeline:
    with transaction.atomic():
        pipeline = ready.start(request.user, **form.cleaned_data)
        AuditEntry.record(request.user, "pipeline.create", pipeline, ready=ready.slug)
    return pipeline
