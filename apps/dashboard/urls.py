"""Addresses of the pages: our own inside the shell first, then Unfold's site at the root."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from apps.dashboard import breakers, views

live = [
    path("figures/", views.figures_fragment, name="figures"),
    path("events/", views.events_fragment, name="events"),
    path("parts/", views.parts_fragment, name="parts"),
    path("breakers/<slug:id>/close/", breakers.close_breaker, name="close_breaker"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("live/", include((live, "live"))),
    path("", include("apps.events.urls")),
    path("", include("apps.approvals.urls")),
    path("", include("apps.ingest.urls")),
    path("", include("apps.llm.urls")),
    path("", include("apps.llm.batch_urls")),
    path("", include("apps.backtests.urls")),
    path("", admin.site.urls),
]
