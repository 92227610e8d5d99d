"""The destinations app."""

from django.apps import AppConfig


class DestinationsConfig(AppConfig):
    name = "apps.destinations"
    verbose_name = "Destinations"
