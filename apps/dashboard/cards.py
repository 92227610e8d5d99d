"""The six figures as the live page shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from apps.dashboard.charts import BarChart, Sparkline, draw_bars, draw_sparkline
from apps.dashboard.models import StatusSample

WINDOW = timedelta(minutes=30)
BARS = 60


@dataclass(frozen=True)
class Shown:
    """A value as text, its unit, and a tone: '', warning or danger."""

    text: str
    unit: str
    tone: str = ""


@dataclass(frozen=True)
class Figure:
    """One of the six: a field of StatusSample, what it is called and how it reads."""

    field: str
    label: str
    help: str
    show: Callable[[float], Shown]


def show_count(value: float) -> Shown:
    return Shown(f"{value:,.0f}", "event" if value == 1 else "events")


def show_dead(value: float) -> Shown:
    tone = "danger" if value >= 1000 else "warning" if value else ""
    return Shown(f"{value:,.0f}", "event" if value == 1 else "events", tone)


def show_seconds(value: float) -> Shown:
    if value < 1:
        return Shown(f"{value * 1000:.0f}", "ms")
    return Shown(f"{value:.1f}" if value < 100 else f"{value:,.0f}", "s")


def show_error_rate(value: float) -> Shown:
    tone = "danger" if value >= 0.2 else "warning" if value >= 0.05 else ""
    return Shown(_percent(value), "%", tone)


def show_success_rate(value: float) -> Shown:
    tone = "danger" if value < 0.8 else "warning" if value < 0.95 else ""
    return Shown(_percent(value), "%", tone)


def _percent(value: float) -> str:
    # 0.9999 must not read as all well.
    percent = 100 * value
    return f"{percent:.0f}" if percent == round(percent) else f"{min(percent, 99.9):.1f}"


FIGURES = (
    Figure("queue_length", "Queue length", "Accepted, not finished", show_count),
    Figure("consumer_lag", "Consumer lag", "Accepted, not yet read", show_count),
    Figure("llm_latency_s", "LLM latency", "Median of 5 minutes", show_seconds),
    Figure("error_rate", "Error rate", "Attempts of 5 minutes", show_error_rate),
    Figure("dead_letters", "Dead letters", "Wait for a person", show_dead),
    Figure("workflow_success_rate", "Workflow success", "Events of 5 minutes", show_success_rate),
)
FIELDS = tuple(figure.field for figure in FIGURES)
UNKNOWN = Shown("unknown", "", "unknown")


@dataclass(frozen=True)
class Card:
    """A figure with its newest value and its course."""

    figure: Figure
    shown: Shown
    spark: Sparkline


@dataclass(frozen=True)
class Panel:
    """All that the figures' fragment shows; `age_s` is None before the first sample."""

    cards: list[Card]
    throughput: BarChart
    delivered_per_minute: float | None
    age_s: float | None
    is_stale: bool


def get_panel(now: datetime | None = None) -> Panel:
    """The figures of the last half hour: one query, whatever the load."""
    now = now or timezone.now()
    names = ("at", "delivered_per_minute", *FIELDS)
    newest_first = StatusSample.objects.filter(at__gte=now - WINDOW).values(*names)
    rows = list(newest_first)[::-1]
    age_s = (now - rows[-1]["at"]).total_seconds() if rows else get_age_s(now)
    is_stale = age_s is None or age_s > get_stale_after_s()
    throughput = [(row["at"], row["delivered_per_minute"]) for row in rows]
    return Panel(
        cards=[get_card(figure, [row[figure.field] for row in rows]) for figure in FIGURES],
        throughput=draw_bars(throughput, now, WINDOW, BARS),
        delivered_per_minute=rows[-1]["delivered_per_minute"] if rows else None,
        age_s=age_s,
        is_stale=is_stale,
    )


def get_card(figure: Figure, values: Sequence[float | None]) -> Card:
    """`values` oldest first; the newest is shown, and unknown stays unknown."""
    newest = values[-1] if values else None
    shown = UNKNOWN if newest is None else figure.show(newest)
    return Card(figure, shown, draw_sparkline(values))


def get_age_s(now: datetime) -> float | None:
    """Seconds since the newest sample, None where there is none."""
    newest = StatusSample.objects.values_list("at", flat=True).first()
    return (now - newest).total_seconds() if newest else None


def get_stale_after_s() -> float:
    """A sample or two may be late; after this many seconds something is wrong."""
    return max(10.0, 3 * settings.SAMPLE_INTERVAL_S)
