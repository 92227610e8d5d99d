"""What somebody sees who guessed wrong too often."""

from __future__ import annotations

from typing import Any

from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """429 with the time of the next try; each try while locked starts the wait anew."""
    wait = get_cool_off(request)
    context = {
        **admin.site.each_context(request),
        "title": "Too many attempts",
        "failures": settings.AXES_FAILURE_LIMIT,
        "again_at": timezone.now() + wait,
    }
    answer = render(request, "accounts/locked_out.html", context, status=429)
    answer["Retry-After"] = str(int(wait.total_seconds()))
    return answer
