"""Open circuit breakers on the live page, and the button that closes one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts.models import User
from apps.dashboard.models import StatusSample
from apps.dashboard.site import page
from apps.llm.breaker_closing import PERMISSION, close_by_hand
from apps.streams.errors import QueueError


def get_rows(sample: StatusSample | None) -> list[dict[str, Any]]:
    """Those of a sample, their times as times."""
    rows = sample.breakers if sample else []
    times = ("since", "probe_at")
    return [row | {name: datetime.fromisoformat(row[name]) for name in times} for row in rows]


@require_POST
@page(PERMISSION)
def close_breaker(request: HttpRequest, id: str) -> HttpResponse:
    """Ask the model again now; if it still fails, the breaker opens again."""
    assert isinstance(request.user, User)
    try:
        closed = close_by_hand(id, request.user)
    except QueueError as error:
        messages.error(request, f"{error} Try again when the queue is back.")
    else:
        if closed:
            messages.success(request, "The model is asked again. Events come back one by one.")
        else:
            messages.info(request, "The circuit breaker is closed already.")
    return redirect("admin:index")
