"""Addresses of the costs."""

from __future__ import annotations

from django.urls import path

from apps.llm import cost_pages

app_name = "costs"
urlpatterns = [
    path("costs/", cost_pages.costs_page, name="page"),
    path("costs/export/", cost_pages.costs_export, name="export"),
]
