"""Pipelines: filter → transform → prompt → LLM → check → deliver, versioned."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Q

from apps.destinations.models import Destination


class Pipeline(models.Model):
    """A named pipeline; what it does stands in its versions."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    current_version = models.ForeignKey(
        "PipelineVersion", null=True, editable=False, on_delete=models.RESTRICT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def publish(self, author: Any = None, **config: Any) -> PipelineVersion:
        """Make `config` (fields of PipelineVersion) the version that new events start with."""
        with transaction.atomic():
            # Two at once: the second waits here, then takes the next number.
            type(self).objects.select_for_update().get(pk=self.pk)
            latest = self.versions.order_by("-number").first()
            version = PipelineVersion.objects.create(
                pipeline=self,
                number=latest.number + 1 if latest else 1,
                created_by=author if getattr(author, "pk", None) else None,
                **config,
            )
            type(self).objects.filter(pk=self.pk).update(current_version=version)
        self.current_version = version
        return version


class PipelineVersion(models.Model):
    """What a pipeline does. Never changes: an event keeps the version it started with."""

    class OnUnknown(models.TextChoices):
        HOLD = "hold", "Hold the event for a person"
        CALL_AGAIN = "call_again", "Call again (may pay twice)"

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    filter = models.TextField(
        blank=True, help_text="JMESPath over the payload; empty takes every event."
    )
    transform = models.TextField(
        blank=True, help_text="JMESPath that shapes the payload for the prompt; empty keeps it."
    )
    prompt = models.TextField(help_text="Text for the model; {{ path }} is replaced by its value.")
    model = models.CharField(
        max_length=120, blank=True, help_text="Empty: the model of OPENAI_MODEL."
    )
    output_schema = models.JSONField(
        default=dict, blank=True, help_text="JSON Schema that the answer must fit."
    )
    max_output_tokens = models.PositiveIntegerField(default=500)
    redaction = models.JSONField(
        default=dict,
        blank=True,
        help_text="What is masked before the model sees it: kinds, countries, paths, patterns, "
        "reversible.",
    )
    on_unknown = models.CharField(max_length=20, choices=OnUnknown.choices, default=OnUnknown.HOLD)
    destination = models.ForeignKey(
        Destination, on_delete=models.PROTECT, related_name="pipeline_versions"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "number"], name="pipeline_version_number_once"
            ),
            models.CheckConstraint(
                name="pipeline_version_number_positive", condition=Q(number__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise IntegrityError("A pipeline version never changes: publish a new one.")
        super().save(*args, **kwargs)
