"""The page of costs, and the same as a table for spreadsheets."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, time
from io import StringIO
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from apps.dashboard.charts import PLOT_WIDTH, Bar, BarChart, get_round_top
from apps.dashboard.site import page, render_page
from apps.llm.budget_usage import get_warnings
from apps.llm.cost_report import (
    CSV_HEAD,
    DEFAULT_PERIOD,
    PERIODS,
    DayCost,
    Report,
    get_report,
    read_lines,
)

BOM = "\ufeff"  # without it, Excel takes UTF-8 for an old Windows encoding
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
GAP = 0.2  # of a column's width


@require_safe
@page("llm.view_costhour")
def costs_page(request: HttpRequest) -> HttpResponse:
    """Totals, a column for each day, and what the money went for."""
    period = read_period(request)
    report = get_report(period)
    context = {
        "report": report,
        "period": period,
        "periods": PERIODS.items(),
        "chart": draw_days(report.days),
        "groups": get_groups(report),
        "budget_warnings": get_warnings(),
    }
    return render_page(request, "llm/costs.html", "Costs", context)


def read_period(request: HttpRequest) -> str:
    asked = request.GET.get("period", "")
    return asked if asked in PERIODS else DEFAULT_PERIOD


def get_groups(report: Report) -> list[dict[str, Any]]:
    """The three tables."""
    return [
        {"id": "sources", "name": "By source", "of": "Source", "rows": report.sources},
        {"id": "pipelines", "name": "By pipeline", "of": "Pipeline", "rows": report.pipelines},
        {"id": "models", "name": "By model", "of": "Model", "rows": report.models},
    ]


def draw_days(days: list[DayCost]) -> dict[str, Any]:
    """The chart, and the width of its columns."""
    dearest = max((float(day.cost_usd) for day in days), default=0.0)
    # Scaled by millionths: a round number below a dollar is round too.
    top = get_round_top(dearest * 1e6) / 1e6 if dearest else 1.0
    width = PLOT_WIDTH / len(days)
    bars = [
        Bar(
            datetime.combine(day.day, time.min, UTC),
            float(day.cost_usd),
            round(index * width, 1),
            round(100 * float(day.cost_usd) / top, 1),
        )
        for index, day in enumerate(days)
    ]
    return {"bars": BarChart(bars, top), "width": round(width * (1 - GAP), 1)}


@require_safe
@page("llm.view_costhour")
def costs_export(request: HttpRequest) -> HttpResponse:
    """A line for each day, source, pipeline and model."""
    period = read_period(request)
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_HEAD)
    writer.writerows([make_safe(cell) for cell in line] for line in read_lines(period))
    answer = HttpResponse(BOM + text.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="costs-{period}.csv"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def make_safe(cell: Any) -> str:
    """A spreadsheet runs what looks like a formula: an apostrophe makes it text."""
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
