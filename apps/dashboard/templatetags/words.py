"""Durations and answers, for people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import template

from apps.events.models import Attempt

register = template.Library()


@register.filter
def duration(value: timedelta | None) -> str:
    """`12 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`; clocks of two machines may give less than 0."""
    if value is None:
        return ""
    seconds = max(value.total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def took(attempt: Attempt) -> timedelta:
    return attempt.finished_at - attempt.started_at


@register.filter
def in_one_line(answer: Any) -> str:
    """The values of an answer side by side: `billing · high · Charged twice`."""
    if isinstance(answer, dict):
        return " · ".join(in_one_line(value) for value in answer.values())
    if isinstance(answer, list):
        return ", ".join(in_one_line(value) for value in answer)
    return str(answer)
