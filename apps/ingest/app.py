"""`/hooks/<slug>`: verifies the raw bytes, puts the event on disk in the queue, answers.

A plain ASGI application in front of Django's: no middleware, no session, no ORM on its way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from apps.ingest import metrics
from apps.ingest.answers import Answer
from apps.ingest.certificates import certificates
from apps.ingest.entry import NewEntry, admit
from apps.ingest.handshakes import finish_handshake
from apps.ingest.peer import Proxies
from apps.ingest.reading import Receive, SenderGone, read_body, read_headers
from apps.ingest.refusals import (
    EventIgnored,
    NotReady,
    Refusal,
    SourceBroken,
    UnknownSource,
    WrongMethod,
    get_answer,
    get_pause,
)
from apps.ingest.refused_keeper import RefusedKeeper
from apps.ingest.registry import CompiledSource, Registry
from apps.sources.schemes import CertificateUnavailable, Request, SignatureRefused
from apps.streams.appender import Answer as Stored
from apps.streams.appender import Appenders
from apps.streams.errors import QueueError
from apps.streams.limits import Limits

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/hooks/"
LOG_INTERVAL_S = 60.0
REFUSED = (Refusal, SignatureRefused, QueueError)
"""All that `Ingest.refuse` has an answer for."""


class Ingest:
    """The application; `start` it in the loop that serves it."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.queue = Appenders()
        self.refused = RefusedKeeper()
        self.limits = Limits(settings.QUEUE_URLS[0])
        self.proxies = Proxies(settings.FORWARDED_ALLOW_IPS)
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
        await self.refused.stop()
        await self.limits.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slug = scope["path"][len(PREFIX) :].removesuffix("/")
        try:
            status, headers, body = await self._take(slug, scope, receive)
        except REFUSED as error:
            status, headers, body = self.refuse(slug, error)
        except SenderGone:
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        # To a HEAD the server sends the headers of this body and leaves it out.
        await send({"type": "http.response.body", "body": body})

    async def _take(self, slug: str, scope: Scope, receive: Receive) -> Answer:
        source = await self._find(slug)
        method = scope["method"]
        if method != "POST" and not (method in ("GET", "HEAD") and source.verifier.takes_get):
            raise WrongMethod("Send events with POST.")
        if source.gate is not None and source.gate.needs_sender:
            sender = self.proxies.find_sender(scope["client"], scope["headers"])
            await source.gate.check_sender(sender, self.limits)
        headers = read_headers(scope["headers"])
        body = await read_body(headers, source.max_body_bytes, receive)
        target = scope["path"].encode()
        if query := scope["query_string"]:
            target += b"?" + query
        request = Request(method, self.get_url(target), headers, body, time.time())
        request.client = scope.get("client")
        try:
            return await self._answer(source, request)
        except CertificateUnavailable as error:
            if not await certificates.fetch(error.url):
                raise
        return await self._answer(source, request)

    async def _answer(self, source: CompiledSource, request: Request) -> Answer:
        is_event = request.method == "POST"
        if not is_event or source.verifier.takes_post_challenge:
            handshake = source.verifier.handshake(request)
            if handshake is not None:
                return await finish_handshake(source.row.pk, handshake)
            if not is_event:
                raise WrongMethod("Send events with POST.")
        event_id, ordering_key, dedup_key, values = self._admit(source, request)
        if source.gate is not None:
            await source.gate.check_rate(self.limits)
        stored = self.queue.append(source.slug_bytes, ordering_key, dedup_key, values)
        return source.settle(event_id, await stored)

    def submit(self, source: CompiledSource, request: Request) -> tuple[bytes, Stored]:
        """Check a whole request and give it to the queue: the id of the new event, and what the
        queue will say. Raises a Refusal, SignatureRefused or QueueError. Asks no rate.
        """
        event_id, ordering_key, dedup_key, values = self._admit(source, request)
        return event_id, self.queue.append(source.slug_bytes, ordering_key, dedup_key, values)

    def _admit(self, source: CompiledSource, request: Request) -> NewEntry:
        try:
            return admit(source, request)
        except (Refusal, SignatureRefused) as error:
            self.refused.keep(source.row, request, error)
            raise

    async def _find(self, slug: str) -> CompiledSource:
        source = self.registry.sources.get(slug) or await self.registry.look_for(slug)
        if source is None:
            if not self.registry.is_loaded:
                raise NotReady("The sources have not been read yet. Try again.")
            raise UnknownSource("There is no source at this address. Check the end of the URL.")
        if source.is_paused:
            raise get_pause(source.rules.paused_status, source.rules.paused_text)
        if source.broken:
            raise SourceBroken("This source's settings can't be used: an administrator must act.")
        return source

    def get_url(self, target: bytes) -> str:
        """The full public URL of a request target (path and query, as they were sent)."""
        return self._base_url + target.decode("latin-1")

    def refuse(self, slug: str, error: Refusal | SignatureRefused | QueueError) -> Answer:
        """Count and log it; the answer for the sender."""
        self._count(slug, error)
        return get_answer(error)

    def _count(self, slug: str, error: Refusal | SignatureRefused | QueueError) -> None:
        label = slug if slug in self.registry.sources else metrics.UNKNOWN_SOURCE
        if isinstance(error, EventIgnored):
            metrics.IGNORED.labels(label).inc()
            return
        metrics.REJECTED.labels(label, error.code).inc()
        now = time.monotonic()
        # One line a minute for each reason: a stranger must not be able to fill the log.
        if now >= self._log_again_at.get((label, error.code), 0.0):
            self._log_again_at[label, error.code] = now + LOG_INTERVAL_S
            logger.warning("Source %s refused a request (%s): %s", label, error.code, error)
