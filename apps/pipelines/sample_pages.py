"""The page of a pipeline's samples: what is kept, added, removed."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.audit.models import AuditEntry
from apps.dashboard.site import page, render_page
from apps.pipelines.draft_pages import PIPELINES
from apps.pipelines.models import Pipeline
from apps.pipelines.sample_keeping import check_reader, paste, to_bytes
from apps.pipelines.sample_models import (
    MAX_KEPT,
    NAME_MAX_CHARS,
    Sample,
    SampleRefused,
    check_body,
)


class LabelField(forms.JSONField):
    """Django writes `null` into the box where nothing is known."""

    def prepare_value(self, value: object) -> str:
        return "" if value is None else super().prepare_value(value)


class SampleForm(forms.Form):
    """A payload that was never an event, and what is right about it."""

    name = forms.CharField(
        required=False,
        max_length=NAME_MAX_CHARS,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: the beginning of the body.",
    )
    body = forms.CharField(
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 8, "class": "pa-mono", "spellcheck": "false"}),
        help_text="JSON, as an event would bring it.",
    )
    expected = LabelField(
        label="What the answer should say",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3, "class": "pa-mono", "spellcheck": "false"}),
        help_text='Some of its fields, as JSON: {"team": "billing"}. Empty: it has no label.',
    )

    def clean_body(self) -> str:
        body: str = self.cleaned_data["body"]
        try:
            check_body(to_bytes(body))
        except SampleRefused as refused:
            raise forms.ValidationError(str(refused)) from None
        return body


@page("pipelines.change_pipeline")
def samples(request: HttpRequest, pk: int) -> HttpResponse:
    """A POST keeps one more."""
    check_reader(request)
    pipeline = get_object_or_404(Pipeline, pk=pk)
    form = SampleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            sample = paste(request, pipeline, form.cleaned_data.pop("body"), **form.cleaned_data)
        except SampleRefused as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, f"“{sample}” is kept.")
            return redirect("admin:pipelines_samples", pk)
    context = {
        "pipeline": pipeline,
        "form": form,
        "samples": Sample.find_kept(pipeline),
        "max_kept": MAX_KEPT,
    }
    title = f"Samples of {pipeline.name}"
    return render_page(request, "pipelines/samples.html", title, context, parents=(PIPELINES,))


@require_POST
@page("pipelines.change_pipeline")
def remove_sample(request: HttpRequest, pk: int, public_id: str) -> HttpResponse:
    """Out of the list; the body is deleted."""
    check_reader(request)
    pipeline = get_object_or_404(Pipeline, pk=pk)
    sample = Sample.find(pipeline, public_id)
    with transaction.atomic():
        if sample and sample.remove():
            AuditEntry.record(request.user, "sample.remove", pipeline, sample=public_id)
            messages.success(request, f"“{sample}” is removed.")
    return redirect("admin:pipelines_samples", pk)
