"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from apps.housekeeping.health import get_parts
from apps.housekeeping.metrics import get_registry

NEEDED = ("database", "queue")  # without these nothing can be accepted or shown


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Each part and why it does not work; 503 where events can't be accepted."""
    parts = get_parts()
    ready = all(parts[name].is_usable for name in NEEDED)
    body = {"ready": ready, "parts": {name: part.as_json() for name, part in parts.items()}}
    return JsonResponse(body, status=200 if ready else 503)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; with METRICS_TOKEN set, only for its bearer."""
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    given = request.headers.get("Authorization", "").encode()
    if settings.METRICS_TOKEN and not hmac.compare_digest(given, expected):
        return HttpResponse("METRICS_TOKEN is missing or wrong.\n", status=401)
    return HttpResponse(generate_latest(get_registry()), content_type=CONTENT_TYPE_LATEST)
