"""Sources of events and their signing secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.pipelines.models import Pipeline
from apps.sources.changes import announce_change
from apps.streams.depth import get_depths
from apps.vault.fields import EncryptedTextField

PAUSE_HEARD = timedelta(seconds=10)


class SourceInUse(Exception):
    """Deleting it now could strand accepted events. The text says what to do first."""

    code = "source_in_use"
    permanent = False
    retry_after_s: float | None = None


class Source(models.Model):
    """A webhook endpoint: `POST /hooks/<slug>`."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    scheme = models.CharField(max_length=40)
    options = models.JSONField(default=dict, blank=True)
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, related_name="sources")
    max_body_bytes = models.PositiveIntegerField(
        null=True, blank=True, help_text="Largest body; empty: MAX_BODY_BYTES."
    )
    paused_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        transaction.on_commit(announce_change)

    def check_deletable(self) -> None:
        """Raises SourceInUse while an event of it may lie in the queue: without its source it
        could never be stored. Every ingest process has heard of a pause after PAUSE_HEARD.
        """
        if self.paused_at is None or timezone.now() - self.paused_at < PAUSE_HEARD:
            seconds = PAUSE_HEARD.seconds
            raise SourceInUse(f"Pause the source first, and wait {seconds} s before deleting it.")
        depths = [shard.depth for shard in get_depths()]
        if any(depth is None or depth.length or depth.buried for depth in depths):
            raise SourceInUse(
                "The queue is not known to be empty, and an event of this source may lie in it: "
                "delete the source when all events are stored."
            )

    def is_deletable(self) -> bool:
        """Whether check_deletable has nothing against it."""
        try:
            self.check_deletable()
        except SourceInUse:
            return False
        return True

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's; raises SourceInUse, see check_deletable."""
        if not self.events.exists():  # with events, the database refuses by itself
            self.check_deletable()
        deleted = super().delete(*args, **kwargs)
        transaction.on_commit(announce_change)
        return deleted

    def pause(self) -> bool:
        """Refuse events from now on; False if it was paused already."""
        return self._set_paused(Q(paused_at=None), timezone.now())

    def resume(self) -> bool:
        """Accept events again; False if it was not paused."""
        return self._set_paused(~Q(paused_at=None), None)

    def _set_paused(self, before: Q, at: datetime | None) -> bool:
        changed = type(self).objects.filter(before, pk=self.pk).update(paused_at=at)
        if changed:
            self.paused_at = at
            transaction.on_commit(announce_change)
        return bool(changed)

    def get_active_secrets(self) -> list[Secret]:
        """Secrets that verify now, oldest first (their order is the verifier's secret_index)."""
        return list(self.secrets.active().order_by("created_at", "pk"))


class SecretQuerySet(models.QuerySet["Secret"]):
    def active(self) -> SecretQuerySet:
        now = timezone.now()
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=now), starts_at__lte=now)


class Secret(models.Model):
    """A signing secret; several can be active at once, so that rotation needs no downtime."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="secrets")
    value = EncryptedTextField()
    created_at = models.DateTimeField(auto_now_add=True)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)

    objects = SecretQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        permissions = [("reveal_secret", "Can see a secret's value")]
        constraints = [
            models.CheckConstraint(
                name="secret_ends_after_start",
                condition=Q(ends_at=None) | Q(ends_at__gte=F("starts_at")),
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.pk} of {self.source.slug}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        transaction.on_commit(announce_change)

    def retire(self) -> bool:
        """Stop verifying with it now; False if it had ended already."""
        end = max(timezone.now(), self.starts_at)  # one of the future ends as it begins
        if self.ends_at is not None and self.ends_at <= end:
            return False
        # Not by the clock: of two who retire at once, the second finds another end than it saw.
        as_seen = type(self).objects.filter(pk=self.pk, ends_at=self.ends_at)
        changed = bool(as_seen.update(ends_at=end))
        if changed:
            self.ends_at = end
            transaction.on_commit(announce_change)
        return changed
