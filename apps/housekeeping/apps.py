"""The housekeeping app."""

from django.apps import AppConfig


class HousekeepingConfig(AppConfig):
    name = "apps.housekeeping"
    verbose_name = "Housekeeping"

    def ready(self) -> None:
        """Load the Celery application, so that `task.delay()` finds its broker everywhere."""
        import pipeline_admin.celery  # noqa: F401
