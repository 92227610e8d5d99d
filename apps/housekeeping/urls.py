"""What probes and scrapers ask."""

from __future__ import annotations

from django.urls import path

from apps.housekeeping import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
]
