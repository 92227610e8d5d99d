"""The housekeeping app."""

from django.apps import AppConfig


class HousekeepingConfig(AppConfig):
    name = "apps.housekeeping"
    verbose_name = "Housekeeping"

    def ready(self) -> None:
        from apps.housekeeping import checks, metrics  # noqa: F401 - both register themselves
