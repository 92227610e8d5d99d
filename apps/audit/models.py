"""Who did what to what, and when."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models


class AuditEntry(models.Model):
    """One act of a person or a token. Holds ids and names of fields, never their secret values."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=100)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_type} {self.object_id}"

    @classmethod
    def record(cls, actor: Any, action: str, target: models.Model, **details: Any) -> AuditEntry:
        """Note that `actor` (a user, or None for the system) did `action` to `target`."""
        public_id = getattr(target, "public_id", None) or getattr(target, "slug", None) or target.pk
        return cls.objects.create(
            actor=actor if getattr(actor, "pk", None) else None,
            actor_name=actor.get_username() if getattr(actor, "pk", None) else "system",
            action=action,
            object_type=target._meta.model_name or "",
            object_id=str(public_id),
            details=details,
        )
