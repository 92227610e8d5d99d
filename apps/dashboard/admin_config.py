"""Makes our AdminSite the one that every `admin.py` registers with."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class PipelineAdminConfig(AdminConfig):
    default_site = "apps.dashboard.site.PipelineAdminSite"
