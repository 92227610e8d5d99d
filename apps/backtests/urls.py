"""Addresses of backtests."""

from __future__ import annotations

from django.urls import path

from apps.backtests import pages

app_name = "backtests"
urlpatterns = [
    path("pipelines/pipeline/<int:pk>/backtests/", pages.backtests, name="list"),
    path("backtests/<uuid:pk>/", pages.backtest_page, name="backtest"),
    path("backtests/<uuid:pk>/cancel/", pages.cancel, name="cancel"),
    path("backtests/<uuid:pk>/resume/", pages.resume, name="resume"),
]
