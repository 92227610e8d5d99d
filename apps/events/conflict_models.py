"""What else was acknowledged under the name of an event: its other ids, and other bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, models, transaction
from django.utils import timezone

from apps.events.ids import KEY_MAX_CHARS, get_public_id
from apps.events.payload import get_digest
from apps.sources.models import Secret

if TYPE_CHECKING:
    from apps.events.models import Event


class EventAlias(models.Model):
    """Another id under which the same event was acknowledged: the queue had forgotten its key."""

    id = models.UUIDField(primary_key=True, editable=False)
    event = models.ForeignKey("events.Event", on_delete=models.CASCADE, related_name="aliases")
    received_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "event aliases"

    def __str__(self) -> str:
        return get_public_id(self.id)


class KeyTaken(Exception):
    """Another event has the key that this one would get."""

    code = "key_taken"
    permanent = True
    retry_after_s: float | None = None


class EventConflict(models.Model):
    """Another body that came under an event's idempotency key. Its id is the one it came with."""

    id = models.UUIDField(primary_key=True, editable=False)
    event = models.ForeignKey("events.Event", on_delete=models.CASCADE, related_name="conflicts")
    received_at = models.DateTimeField()
    event_type = models.CharField(max_length=200, blank=True)
    content_type = models.CharField(max_length=100, blank=True)
    raw = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    secret = models.ForeignKey(
        Secret, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    processed_at = models.DateTimeField(null=True)  # became an event of its own, of the same id

    class Meta:
        ordering = ["received_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["event", "sha256"], name="conflict_once_per_body")
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return get_public_id(self.id)

    @property
    def own_key(self) -> str:
        """The idempotency key it has as an event of its own."""
        end = f"#conflict-{self.sha256[:8]}"
        key = self.event.idempotency_key
        return (key if len(key + end) <= KEY_MAX_CHARS else get_digest(key.encode())) + end

    def process(self) -> bool:
        """Make it an event of its own; its workflow starts on commit. False: it is one already.

        Raises KeyTaken.
        """
        from apps.events.models import EventBody
        from apps.events.workflow_client import start_soon

        waiting = type(self).objects.filter(pk=self.pk, processed_at=None)
        with transaction.atomic():
            self.processed_at = timezone.now()
            if not waiting.update(processed_at=self.processed_at):
                return False
            event = self._build_event()
            try:
                with transaction.atomic():
                    event.save(force_insert=True)
            except IntegrityError as error:
                raise KeyTaken(f"There is an event with the key {self.own_key}.") from error
            EventBody.objects.create(event=event, raw=self.raw, content_type=self.content_type)
            transaction.on_commit(lambda: start_soon(event))
        return True

    def _build_event(self) -> Event:
        source = self.event.source
        return type(self.event).from_body(
            bytes(self.raw),
            id=self.id,
            source=source,
            pipeline_version_id=source.pipeline.current_version_id
            or self.event.pipeline_version_id,
            idempotency_key=self.own_key,
            event_type=self.event_type,
            received_at=self.received_at,
            secret_id=self.secret_id,
        )
