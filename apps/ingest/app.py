"""`/hooks/<slug>`: verifies the raw bytes, puts the event on disk in the queue, answers.

A plain ASGI application in front of Django's: no middleware, no session, no ORM on its way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b, sha256
from typing import Any

from django.conf import settings

from apps.events.ids import new_event_hex
from apps.ingest import metrics
from apps.ingest.answers import Answer
from apps.ingest.handshakes import finish_handshake
from apps.ingest.reading import Receive, SenderGone, explain_not_json, read_body, read_headers
from apps.ingest.refusals import (
    NotJson,
    NotReady,
    Refusal,
    SourceBroken,
    SourcePaused,
    UnknownSource,
    WrongContentType,
    WrongMethod,
    get_answer,
)
from apps.ingest.registry import CompiledSource, Registry
from apps.sources.schemes import Request, SignatureRefused, Verified, is_json
from apps.streams.appender import Answer as Stored
from apps.streams.appender import Appenders
from apps.streams.errors import QueueError

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/hooks/"
KEY_MAX_CHARS = 255
DEDUP_KEY_MAX_BYTES = 128
CONTENT_TYPE_MAX_BYTES = 100
# Tells another body under the same id; what counts as a conflict is decided by the database.
DIGEST_BYTES = 8
LOG_INTERVAL_S = 60.0


class Ingest:
    """The application; `start` it in the loop that serves it."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.queue = Appenders()
        self._base_url = settings.PUBLIC_URL
        self._log_again_at: dict[tuple[str, str], float] = {}

    async def start(self) -> None:
        """Connect and read the sources; neither queue nor database need be up."""
        self.queue.start()
        await self.registry.start()

    async def stop(self) -> None:
        """Close the connections, after the last request was answered."""
        await self.registry.stop()
        await self.queue.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slug = scope["path"][len(PREFIX) :].removesuffix("/")
        try:
            status, headers, body = await self._take(slug, scope, receive)
        except (Refusal, SignatureRefused, QueueError) as error:
            self._count(slug, error)
            status, headers, body = get_answer(error)
        except SenderGone:
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _take(self, slug: str, scope: Scope, receive: Receive) -> Answer:
        source = await self._find(slug)
        method = scope["method"]
        if method != "POST" and not (method == "GET" and source.verifier.takes_get):
            raise WrongMethod("Send events with POST.")
        headers = read_headers(scope["headers"])
        body = await read_body(headers, source.max_body_bytes, receive)
        request = Request(method, self._url(scope), headers, body, time.time())
        if method == "GET" or source.verifier.takes_post_challenge:
            handshake = source.verifier.handshake(request)
            if handshake is not None:
                return await finish_handshake(source.row.pk, handshake)
            if method == "GET":
                raise WrongMethod("Send events with POST.")
        event_id, stored = self.submit(source, request)
        return source.settle(event_id, await stored)

    def submit(self, source: CompiledSource, request: Request) -> tuple[bytes, Stored]:
        """Check a whole request and give it to the queue: the id of the new event, and what the
        queue will say. Raises a Refusal, SignatureRefused or QueueError.
        """
        content_type = request.headers.get(b"content-type", b"")
        must_be_json = source.content_types.is_json(content_type)
        if must_be_json is None:
            raise WrongContentType(source.content_types.sentence)
        verified = source.verifier.verify(request)
        if must_be_json and not is_json(request):
            raise NotJson(explain_not_json(request.body))
        return self._append(source, request, verified, content_type)

    async def _find(self, slug: str) -> CompiledSource:
        source = self.registry.sources.get(slug) or await self.registry.look_for(slug)
        if source is None:
            if not self.registry.is_loaded:
                raise NotReady("The sources have not been read yet. Try again.")
            raise UnknownSource("There is no source at this address. Check the end of the URL.")
        if source.is_paused:
            raise SourcePaused("This source is paused. Send the event again when it goes on.")
        if source.broken:
            raise SourceBroken("This source's settings can't be used: an administrator must act.")
        return source

    def _url(self, scope: Scope) -> str:
        path: str = scope["path"]
        query: bytes = scope["query_string"]
        if query:
            return f"{self._base_url}{path}?{query.decode('latin-1')}"
        return self._base_url + path

    def _append(
        self, source: CompiledSource, request: Request, verified: Verified, content_type: bytes
    ) -> tuple[bytes, Stored]:
        event_id = new_event_hex().encode()
        key = _get_key(verified, request.body)
        short_key = key if len(key) <= DEDUP_KEY_MAX_BYTES else sha256(key).hexdigest().encode()
        values = (
            event_id,
            source.id,
            key,
            verified.event_type.encode(),
            content_type[:CONTENT_TYPE_MAX_BYTES],
            b"%d" % (request.now * 1000),
            request.body,
            source.secret_ids[verified.secret_index],
            b"",
            blake2b(request.body, digest_size=DIGEST_BYTES).digest(),
        )
        dedup_key = source.dedup_prefix + short_key
        return event_id, self.queue.append(source.slug_bytes, key, dedup_key, values)

    def _count(self, slug: str, error: Refusal | SignatureRefused | QueueError) -> None:
        label = slug if slug in self.registry.sources else metrics.UNKNOWN_SOURCE
        metrics.REJECTED.labels(label, error.code).inc()
        now = time.monotonic()
        # One line a minute for each reason: a stranger must not be able to fill the log.
        if now >= self._log_again_at.get((label, error.code), 0.0):
            self._log_again_at[label, error.code] = now + LOG_INTERVAL_S
            logger.warning("Source %s refused a request (%s): %s", label, error.code, error)


def _get_key(verified: Verified, body: bytes) -> bytes:
    """The idempotency key, 1 to 255 characters: the provider's event id, else the body's hash."""
    key = verified.event_id
    if key is None:
        return b"body:" + sha256(body).hexdigest().encode()
    if len(key) > KEY_MAX_CHARS:
        return b"sha256:" + sha256(key.encode()).hexdigest().encode()
    return key.encode()
