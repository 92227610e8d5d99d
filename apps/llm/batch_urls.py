"""Addresses of batches."""

from __future__ import annotations

from django.urls import path

from apps.llm import batch_pages

app_name = "batches"
urlpatterns = [path("batches/", batch_pages.batches_page, name="list")]
