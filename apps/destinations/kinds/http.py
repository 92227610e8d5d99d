"""An HTTP endpoint, signed by Standard Webhooks."""

from __future__ import annotations

import json
import time

from django.conf import settings

from apps.destinations.egress import EgressError, Reply, post
from apps.destinations.kinds.base import (
    Delivered,
    DestinationRefused,
    DestinationUnreachable,
    ReceiverFailed,
    ReceiverRefused,
)
from apps.destinations.models import Destination
from apps.destinations.retry_after import read_retry_after_s
from apps.events.models import Event
from apps.sources.schemes.registry import sign

RETRYABLE_STATUSES = {408, 409, 425, 429}


def deliver(event: Event, destination: Destination, answer: object) -> Delivered:
    """POST the answer; the same event has the same body and id every time, so it can be ignored.

    Raises `DeliveryError`.
    """
    body = build_body(event, answer)
    headers = {"content-type": "application/json", "user-agent": "pipeline-admin"}
    headers |= {"webhook-id": event.public_id, "idempotency-key": event.public_id}
    headers |= _sign(event, destination.secret, body)
    try:
        reply = post(destination.url, body, headers, settings.DELIVERY_TIMEOUT_S)
    except EgressError as error:
        kind = DestinationRefused if error.permanent else DestinationUnreachable
        raise kind(str(error)) from None
    _check_reply(reply)
    return Delivered(reply.status)


def build_body(event: Event, answer: object) -> bytes:
    """What the receiver reads: JSON in UTF-8, the same bytes at every try."""
    document = {
        "id": event.public_id,
        "type": "pipeline.answer",
        "source": event.source.slug,
        "event_type": event.event_type,
        "received_at": event.received_at.isoformat().replace("+00:00", "Z"),
        "answer": answer,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _sign(event: Event, secret: str, body: bytes) -> dict[str, str]:
    """Standard Webhooks' headers; none without a secret."""
    if not secret:
        return {}
    now = time.time()
    return sign("standard-webhooks", {}, secret, body, now, event.public_id, event.event_type)


def _check_reply(reply: Reply) -> None:
    if 200 <= reply.status < 300:
        return
    message = f"The destination answered {reply.status}."
    if reply.status >= 500 or reply.status in RETRYABLE_STATUSES:
        retry_after_s = read_retry_after_s(reply.headers)
        raise ReceiverFailed(message, retry_after_s=retry_after_s, http_status=reply.status)
    raise ReceiverRefused(message, http_status=reply.status)
