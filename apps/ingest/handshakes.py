"""Finishes a provider's challenge: what the scheme may not do itself, because it does no I/O."""

from __future__ import annotations

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.db import transaction

from apps.audit.models import AuditEntry
from apps.destinations.egress import EgressError, get
from apps.ingest.answers import Answer, plain
from apps.ingest.refusals import NotConfirmed
from apps.sources.models import Secret, Source
from apps.sources.schemes import Handshake

logger = logging.getLogger(__name__)

# With the wait for a certificate before it, the answer still comes within 2 s.
VISIT_WAIT_S = 0.7
VISIT_TIMEOUT_S = 5.0
# A challenge is anybody's text, given back from the address of our own pages.
NO_SNIFFING = {b"x-content-type-options": b"nosniff"}


async def finish_handshake(source_id: int, handshake: Handshake) -> Answer:
    """Store a secret that the provider handed over, or visit the address that it wants visited;
    then give the scheme's answer. Raises NotConfirmed.
    """
    if handshake.learned_secret:
        await sync_to_async(_learn)(source_id, handshake.learned_secret)
    if handshake.visit_url:
        await _visit(handshake.visit_url)
    headers = {**NO_SNIFFING, **handshake.headers}
    return plain(handshake.status, handshake.content_type, handshake.body, headers)


async def _visit(url: str) -> None:
    try:
        async with asyncio.timeout(VISIT_WAIT_S):
            # A visit that takes longer goes on: then the next try finds it done.
            await asyncio.to_thread(get, url, VISIT_TIMEOUT_S)
    except (EgressError, TimeoutError) as error:
        why = str(error) or "It takes long."
        logger.warning("A subscription can't be confirmed at Amazon SNS: %s", why)
        raise NotConfirmed("The subscription could not be confirmed. Send this again.") from None


def _learn(source_id: int, value: str) -> None:
    # The registry that let this challenge through may lag: the database decides, one at a time.
    # A retired secret counts, or ending the last one would open the door to any stranger.
    with transaction.atomic():
        source = Source.objects.select_for_update().get(pk=source_id)
        if not source.secrets.exists():
            secret = Secret.objects.create(source=source, value=value)
            AuditEntry.record(None, "secret.learn", secret)
