"""The Celery application: `celery -A pipeline_admin worker` and `… beat`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")

app = Celery("pipeline_admin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
