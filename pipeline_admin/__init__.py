"""The Django project."""

from pipeline_admin.celery import app as celery_app

__all__ = ["celery_app"]
