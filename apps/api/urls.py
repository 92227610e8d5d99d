"""Addresses under /api/."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from apps.api.docs import docs_page
from apps.api.router import router
from apps.api.schema import OpenApiView
from apps.api.viewsets import UnknownPath

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include((router.urls, "v1"))),
    path("v1/openapi.json", OpenApiView.as_view(), name="openapi"),
    path("docs/", docs_page, name="api-docs"),
    re_path(r"", UnknownPath.as_view(), name="api-unknown"),
]
