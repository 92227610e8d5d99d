"""Requests that were refused, kept so that they can be taken in after a repair."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.events.ids import new_event_id
from apps.sources.models import Source
from apps.vault.fields import EncryptedBinaryField

REASON_MAX_CHARS = 1000
LATELY = timedelta(days=1)
_PUBLIC_ID = re.compile(r"ref_([0-9a-f]{32})")


class State(models.TextChoices):
    KEPT = "kept", "Kept"
    ACCEPTED = "accepted", "Accepted"
    DISCARDED = "discarded", "Discarded"


class RefusedRequest(models.Model):
    """One request that a source did not take; the same event again counts up `times`."""

    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="refused_requests")
    state = models.CharField(max_length=10, choices=State.choices, default=State.KEPT)
    received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)
    address = models.CharField(max_length=45, blank=True)
    method = models.CharField(max_length=10)
    code = models.CharField(max_length=60)
    reason = models.CharField(max_length=REASON_MAX_CHARS)
    size_bytes = models.PositiveIntegerField(help_text="Of the body.")
    kept_bytes = models.PositiveIntegerField(editable=False, help_text="Of the encrypted content.")
    body_digest = models.CharField(max_length=32, editable=False)
    # Request line, headers and raw body: headers hold credentials, URLs hold tokens. Empty as
    # soon as it was accepted (the event has it) or discarded.
    content = EncryptedBinaryField(null=True, editable=False)
    # Made once: who accepts it twice gives the queue the same event twice.
    event_id = models.UUIDField(default=new_event_id, editable=False)
    settled_at = models.DateTimeField(null=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-received_at", "-id"]
        default_permissions = ("view",)
        permissions = [
            ("read_refusedrequest", "Can read headers and body of refused requests"),
            ("accept_refusedrequest", "Can accept refused requests"),
            ("discard_refusedrequest", "Can discard refused requests"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "code", "body_digest"],
                condition=Q(state="kept"),
                name="refused_kept_once",
            ),
            models.CheckConstraint(name="refused_state_known", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="refused_kept_or_settled",
                condition=Q(state="kept", content__isnull=False, settled_at=None)
                | (~Q(state="kept") & Q(content=None, settled_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="refused_newest"),
            models.Index(fields=["source", "state", "-received_at"], name="refused_by_source"),
            models.Index(fields=["state", "-received_at"], name="refused_by_state"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return f"ref_{self.id.hex}"

    @property
    def event_public_id(self) -> str:
        """The event that it became, where it was accepted."""
        return f"evt_{self.event_id.hex}" if self.state == State.ACCEPTED else ""

    @staticmethod
    def parse_public_id(text: str) -> uuid.UUID | None:
        """The id of `ref_<32 hex digits>`; None for any other text."""
        match = _PUBLIC_ID.fullmatch(text)
        return uuid.UUID(hex=match[1]) if match else None

    @classmethod
    def count_lately(cls, source: Source) -> int:
        """How many requests of the source came in the last day and are kept."""
        since = timezone.now() - LATELY
        lately = cls.objects.filter(source=source, state=State.KEPT, last_received_at__gte=since)
        return lately.count()

    # --- Verbs: each one conditional UPDATE; False means that somebody else was first ---------

    def accept(self, actor: Any, event_id: uuid.UUID | None = None) -> bool:
        """It became an event: its own, or `event_id`, which had come another way before."""
        return self._settle(State.ACCEPTED, actor, event_id or self.event_id)

    def became(self, event_id: uuid.UUID) -> None:
        """The queue knew its event under another id."""
        self.event_id = event_id
        type(self).objects.filter(pk=self.pk).update(event_id=event_id)

    def discard(self, actor: Any) -> bool:
        """Nobody wants it: its content is deleted."""
        return self._settle(State.DISCARDED, actor, self.event_id)

    def _settle(self, state: State, actor: Any, event_id: uuid.UUID) -> bool:
        fields = {
            "state": state,
            "settled_at": timezone.now(),
            "settled_by": actor,
            "event_id": event_id,
            "content": None,
            "kept_bytes": 0,
        }
        settled = bool(type(self).objects.filter(pk=self.pk, state=State.KEPT).update(**fields))
        if settled:
            for name, value in fields.items():
                setattr(self, name, value)
        return settled
