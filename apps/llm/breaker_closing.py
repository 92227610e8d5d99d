"""A breaker is closed by hand: who knows that the provider works need not wait for a probe."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.llm import breaker

PERMISSION = "pipelines.change_pipeline"


def close_by_hand(id: str, actor: User, **details: Any) -> bool:
    """Close it, with a line in the audit; False where it is not open. Raises QueueError."""
    names = {found.id: f"{found.provider}/{found.model}" for found in breaker.find_open()}
    if not breaker.close(id):
        return False
    AuditEntry.objects.create(
        actor=actor,
        actor_name=actor.get_username(),
        action="breaker.close",
        object_type="breaker",
        object_id=names.get(id, id)[:100],
        details=details,
    )
    return True
