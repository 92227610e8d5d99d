"""What was spent, hour by hour: kept when the calls themselves are deleted with their events."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.pipelines.models import Pipeline
from apps.sources.models import Source


class CostHour(models.Model):
    """The answered calls of one hour (UTC), source, pipeline and model at a provider."""

    hour = models.DateTimeField()
    source = models.ForeignKey(Source, null=True, on_delete=models.SET_NULL, related_name="+")
    pipeline = models.ForeignKey(Pipeline, null=True, on_delete=models.SET_NULL, related_name="+")
    model = models.CharField(max_length=120)
    # A slug; empty is the provider of the settings.
    provider = models.CharField(max_length=60, blank=True, default="", db_default="")
    # Drafts that were tried on samples, which have no source.
    on_samples = models.BooleanField(default=False, db_default=False)
    calls = models.PositiveIntegerField(default=0)
    events = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    # Counted when an answer is used again; what the answer had cost.
    reused = models.PositiveIntegerField(default=0)
    saved_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0)
    # Less than the list price, because the calls went in batches.
    batch_saved_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0, db_default=0)

    class Meta:
        ordering = ["hour", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "source", "pipeline", "model", "provider"],
                name="cost_hour_once_per_provider",
            ),
            models.UniqueConstraint(  # of the above no two are equal that have no source
                fields=["hour", "pipeline", "model", "provider"],
                condition=Q(on_samples=True),
                name="cost_hour_of_samples_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 {self.model}"


class DuplicateHour(models.Model):
    """The repeats of one source that were recognised at the door in one hour (UTC)."""

    hour = models.DateTimeField()
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="+")
    duplicates = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["hour", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["hour", "source"], name="duplicate_hour_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 {self.source_id}"
