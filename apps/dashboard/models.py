"""Samples of the six figures, for the charts."""

from __future__ import annotations

from django.db import models


class StatusSample(models.Model):
    """The six figures at one moment. A figure that nobody knows is null, never 0."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    queue_length = models.PositiveBigIntegerField(null=True)
    consumer_lag = models.PositiveBigIntegerField(null=True)
    llm_latency_s = models.FloatField(null=True)  # median of the last 5 minutes
    llm_latency_p95_s = models.FloatField(null=True)
    error_rate = models.FloatField(null=True)  # 0..1, attempts of the last 5 minutes
    dead_letters = models.PositiveBigIntegerField(null=True)
    workflow_success_rate = models.FloatField(null=True)  # 0..1, events of the last 5 minutes
    delivered_per_minute = models.FloatField(null=True)
    held = models.PositiveBigIntegerField(null=True)
    parts = models.JSONField(default=dict)  # name → {"ok": bool, "why": str}
    shards = models.JSONField(default=list)  # what figures.get_shards() measured
    breakers = models.JSONField(default=list)  # open ones: breaker.OpenBreaker.as_json()

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return self.at.isoformat()


class PartHeartbeat(models.Model):
    """The last sign of life of one process, so that the page can say which part is missing."""

    part = models.CharField(max_length=30)
    instance = models.CharField(max_length=100)  # host and pid
    at = models.DateTimeField()

    class Meta:
        ordering = ["part", "instance"]
        constraints = [
            models.UniqueConstraint(fields=["part", "instance"], name="heartbeat_once_per_process")
        ]

    def __str__(self) -> str:
        return f"{self.part} on {self.instance}"
