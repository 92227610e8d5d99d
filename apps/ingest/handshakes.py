"""Finishes a provider's challenge: what the scheme may not do itself, because it does no I/O."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction

from apps.audit.models import AuditEntry
from apps.ingest.answers import Answer, plain
from apps.sources.models import Secret, Source
from apps.sources.schemes import Handshake


async def finish_handshake(source_id: int, handshake: Handshake) -> Answer:
    """Store a secret that the provider handed over, then give the scheme's answer."""
    if handshake.learned_secret:
        await sync_to_async(_learn)(source_id, handshake.learned_secret)
    return plain(handshake.status, handshake.content_type, handshake.body, handshake.headers)


def _learn(source_id: int, value: str) -> None:
    # The registry that let this challenge through may lag: the database decides, one at a time.
    # A retired secret counts, or ending the last one would open the door to any stranger.
    with transaction.atomic():
        source = Source.objects.select_for_update().get(pk=source_id)
        if not source.secrets.exists():
            secret = Secret.objects.create(source=source, value=value)
            AuditEntry.record(None, "secret.learn", secret)
