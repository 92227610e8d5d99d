"""From a whole request to the entry of the queue: what is checked, and the ten values.

Ingest does it for each request as it comes; a refused request that was kept goes the same way
later, so that it is the same event then.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from apps.events.ids import new_event_hex
from apps.ingest.reading import explain_not_json
from apps.ingest.refusals import NotJson, WrongContentType
from apps.ingest.registry import CompiledSource
from apps.sources.schemes import Request, Verified, is_json
from apps.streams.entries import Values

KEY_MAX_CHARS = 255
DEDUP_KEY_MAX_BYTES = 128
CONTENT_TYPE_MAX_BYTES = 100
# Tells another body under the same id; what counts as a conflict is decided by the database.
DIGEST_BYTES = 8


class NewEntry(NamedTuple):
    """What the queue is given. The ordering key chooses the shard: the idempotency key, unless
    a rule of the source gives another.
    """

    event_id: bytes
    ordering_key: bytes
    dedup_key: bytes
    values: Values


def admit(source: CompiledSource, request: Request, event_id: bytes = b"") -> NewEntry:
    """Check a whole request; its entry, under a new event id unless one is given.

    Raises a Refusal or SignatureRefused.
    """
    content_type = request.headers.get(b"content-type", b"")
    must_be_json = source.content_types.is_json(content_type)
    if must_be_json is None:
        raise WrongContentType(source.content_types.sentence)
    verified = source.verifier.verify(request)
    if must_be_json and not is_json(request):
        raise NotJson(explain_not_json(request.body))
    key = ordering_key = get_key(verified, request.body)
    quarantine = b""
    if source.gate is not None:
        quarantine, ordering_key = source.gate.check(request, verified, key)
    short_key = key if len(key) <= DEDUP_KEY_MAX_BYTES else sha256(key).hexdigest().encode()
    event_id = event_id or new_event_hex().encode()
    values = (
        event_id,
        source.id,
        key,
        verified.event_type.encode(),
        content_type[:CONTENT_TYPE_MAX_BYTES],
        b"%d" % (request.now * 1000),
        request.body,
        source.secret_ids[verified.secret_index],
        quarantine,
        sha256(request.body).digest()[:DIGEST_BYTES],
    )
    return NewEntry(event_id, ordering_key, source.dedup_prefix + short_key, values)


def get_key(verified: Verified, body: bytes) -> bytes:
    """The idempotency key, 1 to 255 characters: the provider's event id, else the body's hash."""
    key = verified.event_id
    if key is None:
        return b"body:" + sha256(body).hexdigest().encode()
    if len(key) > KEY_MAX_CHARS:
        return b"sha256:" + sha256(key.encode()).hexdigest().encode()
    return key.encode()
