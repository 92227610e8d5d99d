"""Answers that wait, or have waited, for a person's yes. One row for each run that was held."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.events.ids import new_event_id
from apps.events.models import Event
from apps.pipelines.approval import Approval as Terms
from apps.pipelines.approval import OnTimeout, read_approval

NOTE_MAX_CHARS = 500
_PUBLIC_ID = re.compile(r"apr_([0-9a-f]{32})")


class Decision(models.TextChoices):
    WAITING = "waiting", "Waiting"
    APPROVED = "approved", "Approved"
    EDITED = "edited", "Edited and approved"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Time ran out"


TAKEN = (Decision.APPROVED, Decision.EDITED)


class Approval(models.Model):
    """An answer that was held, why, until when, and what was decided."""

    id = models.UUIDField(primary_key=True, default=new_event_id, editable=False)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="approvals")
    run = models.PositiveIntegerField()
    # As the model gave it, checked against the schema; marks are values again where asked for.
    answer = models.JSONField(null=True)
    reason = models.CharField(max_length=500)
    held_at = models.DateTimeField(default=timezone.now)
    deadline = models.DateTimeField()
    decision = models.CharField(max_length=10, choices=Decision.choices, default=Decision.WAITING)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_by_name = models.CharField(max_length=150, blank=True)
    edited_answer = models.JSONField(null=True)
    note = models.CharField(max_length=NOTE_MAX_CHARS, blank=True)
    # When the workflow learnt of the decision. Until then the reconciler tells it, and notes when.
    noticed_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["held_at", "id"]
        default_permissions = ("view",)
        permissions = [("decide_approval", "Can approve, edit and reject answers")]
        constraints = [
            models.UniqueConstraint(fields=["event", "run"], name="approval_once_a_run"),
            models.CheckConstraint(
                name="approval_decision_known", condition=Q(decision__in=Decision.values)
            ),
            models.CheckConstraint(
                name="decided_approval_has_time",
                condition=Q(decision=Decision.WAITING) | Q(decided_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["-held_at", "-id"], name="approval_newest"),
            models.Index(
                fields=["held_at", "id"],
                name="approval_waiting",
                condition=Q(decision=Decision.WAITING),
            ),
            models.Index(
                fields=["decided_at"],
                name="approval_not_noticed",
                condition=Q(noticed_at__isnull=True, decided_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return f"apr_{self.id.hex}"

    @staticmethod
    def parse_public_id(text: str) -> uuid.UUID | None:
        """The id of `apr_<32 hex digits>`; None for any other text."""
        match = _PUBLIC_ID.fullmatch(text)
        return uuid.UUID(hex=match[1]) if match else None

    @property
    def is_waiting(self) -> bool:
        return self.decision == Decision.WAITING

    @property
    def terms(self) -> Terms:
        """What the version says: it never changes. Needs `event__pipeline_version`."""
        return read_approval(self.event.pipeline_version.approval)

    @property
    def final_answer(self) -> Any:
        """What is delivered, if anything is."""
        return self.edited_answer if self.decision == Decision.EDITED else self.answer

    @property
    def lets_go_on(self) -> bool:
        """Whether the decision is to deliver."""
        if self.decision == Decision.EXPIRED:
            return self.terms.on_timeout == OnTimeout.DELIVER
        return self.decision in TAKEN

    @classmethod
    def find_taken(cls, event: Event, answer: Any) -> Approval | None:
        """An earlier yes to this very answer: a retry after it asks nobody again."""
        decided = cls.objects.filter(event=event).exclude(
            decision__in=(Decision.WAITING, Decision.REJECTED)
        )
        rows = decided.select_related("event__pipeline_version").order_by("-run")
        same = (row for row in rows if row.lets_go_on and _is_same(row.answer, answer))
        return next(same, None)

    # --- Verbs: each one conditional UPDATE; False means that somebody else was first ---------

    def decide(self, decision: Decision, actor: Any, note: str, **fields: Any) -> bool:
        """Waiting → approved, edited or rejected, while there is time."""
        now = timezone.now()
        name = actor.get_username() if actor else ""
        fields |= {"decided_by": actor, "decided_by_name": name, "note": note[:NOTE_MAX_CHARS]}
        return self._decide(Q(deadline__gt=now), decision, now, **fields)

    def expire(self) -> bool:
        """Waiting → time ran out."""
        now = timezone.now()
        return self._decide(Q(deadline__lte=now), Decision.EXPIRED, now)

    def _decide(self, allowed: Q, decision: Decision, at: datetime, **fields: Any) -> bool:
        fields |= {"decision": decision, "decided_at": at}
        waiting = type(self).objects.filter(allowed, pk=self.pk, decision=Decision.WAITING)
        moved = bool(waiting.update(**fields))
        if moved:
            for name, value in fields.items():
                setattr(self, name, value)
        return moved

    def notice(self) -> bool:
        """The workflow knows what was decided, or needs not to."""
        unknown = type(self).objects.filter(pk=self.pk, noticed_at=None)
        decided = unknown.exclude(decision=Decision.WAITING)
        return bool(decided.update(noticed_at=timezone.now()))


def _is_same(one: Any, other: Any) -> bool:
    """As JSON: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
