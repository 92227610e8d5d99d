"""Addresses of Django's side; /hooks/ and /ws/ are routed in asgi.py."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", include("apps.api.urls")),
    path("", include("apps.housekeeping.urls")),
    path("", include("apps.dashboard.urls")),
]

handler400 = "apps.api.problems.bad_request"
handler500 = "apps.api.problems.server_error"

handler403 = "apps.dashboard.errors.forbidden"
handler404 = "apps.dashboard.errors.not_found"
