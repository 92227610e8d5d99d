"""The pipelines app."""

from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "apps.pipelines"
    verbose_name = "Pipelines"
