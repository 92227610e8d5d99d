"""Pages of backtests: estimate, start, watch, cancel, go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.audit.models import AuditEntry
from apps.backtests.estimate import Estimate, estimate, find_subjects
from apps.backtests.forms import BacktestForm, CapForm
from apps.backtests.models import Backtest, BacktestRow, BacktestState
from apps.backtests.totals import add_up
from apps.dashboard.site import page, render_page
from apps.events.payload import pretty_json
from apps.llm.models import Subject
from apps.pipelines.models import Pipeline

PIPELINES = ("Pipelines", "admin:pipelines_pipeline_changelist")
ROWS_SHOWN = 100
LIST_SHOWN = 20


@page("pipelines.change_pipeline")
def backtests(request: HttpRequest, pk: int) -> HttpResponse:
    """A POST says what it may cost; with `start` and the draft's token it begins."""
    check_reader(request)
    pipeline = get_object_or_404(Pipeline, pk=pk)
    draft = pipeline.get_draft()
    form = BacktestForm(pipeline, request.POST or None)
    shown: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        subjects = find_subjects(pipeline, form.cleaned_data["on"], form.cleaned_data["count"])
        shown["estimate"] = expected = estimate(draft.get_version(), subjects)
        is_same = request.POST.get("token") == draft.token
        if "start" in request.POST and is_same and may_start(expected):
            return start(request, pipeline, form, subjects)
        shown["is_stale"] = "start" in request.POST and not is_same
    context = {
        "pipeline": pipeline,
        "draft": draft,
        "form": form,
        "backtests": pipeline.backtests.select_related("created_by")[:LIST_SHOWN],
        **shown,
    }
    title = f"Backtests of {pipeline.name}"
    return render_page(request, "backtests/list.html", title, context, parents=(PIPELINES,))


def may_start(expected: Estimate) -> bool:
    """A cap can only be kept where the price is known."""
    return bool(expected.events) and expected.has_price


def start(
    request: HttpRequest, pipeline: Pipeline, form: BacktestForm, subjects: Sequence[Subject]
) -> HttpResponse:
    asked = {name: form.cleaned_data[name] for name in ("cap_usd", "label_path", "answer_path")}
    with transaction.atomic():
        backtest = Backtest.start(request.user, pipeline.get_draft(), subjects, **asked)
        AuditEntry.record(
            request.user, "backtest.start", backtest, pipeline=pipeline.slug,
            on=form.cleaned_data["on"], events=len(subjects), cap_usd=str(backtest.cap_usd),
        )  # fmt: skip
    return redirect("backtests:backtest", backtest.pk)


@require_safe
@page("pipelines.change_pipeline")
def backtest_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Progress, totals and rows; htmx asks for the part that moves while it runs."""
    check_reader(request)
    related = Backtest.objects.select_related("pipeline__current_version", "created_by")
    backtest = get_object_or_404(related, pk=pk)
    context = get_details(backtest, request.GET.get("from", ""))
    if request.headers.get("HX-Request"):
        return render(request, "backtests/details.html", context)
    title = f"Backtest of {backtest.pipeline.name}"
    return render_page(request, "backtests/backtest.html", title, context, parents=(PIPELINES,))


def get_details(backtest: Backtest, begins: str) -> dict[str, Any]:
    first = int(begins) if begins.isdecimal() and len(begins) < 6 else 1
    found = backtest.rows.filter(position__gte=first).select_related("event", "sample")
    rows = list(found.defer("sample__raw")[: ROWS_SHOWN + 1])
    draft = backtest.pipeline.get_draft()
    is_same = draft.get_version().get_config() == backtest.config
    is_on_samples = backtest.is_on_samples
    return {
        "backtest": backtest,
        "pipeline": backtest.pipeline,
        "totals": add_up(backtest),
        "is_running": backtest.state == BacktestState.RUNNING,
        "may_resume": backtest.state in (BacktestState.STOPPED, BacktestState.CANCELLED),
        "is_draft": draft.is_saved and is_same,
        "is_published": is_same and not draft.is_saved,
        "is_on_samples": is_on_samples,
        "has_labels": bool(backtest.label_path) or is_on_samples,
        "noun": "sample" if is_on_samples else "event",
        "rows": [show_row(row) for row in rows[:ROWS_SHOWN]],
        "next": rows[-1].position if len(rows) > ROWS_SHOWN else None,
        "first": first,
    }


def show_row(row: BacktestRow) -> dict[str, Any]:
    return {
        "row": row,
        "old": show(row.old_answer),
        "new": show(row.answer),
        "label": show(row.label),
    }


def show(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else pretty_json(value)


@require_POST
@page("pipelines.change_pipeline")
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    backtest = get_object_or_404(Backtest, pk=pk)
    with transaction.atomic():
        if backtest.cancel():
            AuditEntry.record(request.user, "backtest.cancel", backtest)
            messages.success(request, "It is cancelled: no further call is made.")
    return redirect("backtests:backtest", pk)


@require_POST
@page("pipelines.change_pipeline")
def resume(request: HttpRequest, pk: UUID) -> HttpResponse:
    """With the cap that was typed, for all of it."""
    backtest = get_object_or_404(Backtest, pk=pk)
    form = CapForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"The cap: {form.errors['cap_usd'][0]}")
        return redirect("backtests:backtest", pk)
    cap_usd = form.cleaned_data["cap_usd"]
    with transaction.atomic():
        if backtest.resume(cap_usd):
            AuditEntry.record(request.user, "backtest.resume", backtest, cap_usd=str(cap_usd))
    return redirect("backtests:backtest", pk)


def check_reader(request: HttpRequest) -> None:
    """Answers and labels are as good as bodies."""
    if not request.user.has_perm("events.view_eventbody"):
        raise PermissionDenied
