"""Group commit: events that arrive together share one write and one fsync."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import hiredis
from django.conf import settings

from apps.streams import durability, scripts
from apps.streams.addresses import get_addresses
from apps.streams.connection import Command, Connection, connect
from apps.streams.entries import STREAM, Durability
from apps.streams.errors import QueueDown, QueueError, QueueNotDurable, translate
from apps.streams.placement import Placement

logger = logging.getLogger(__name__)

# More events in one script would keep the server from its other clients for over a millisecond.
BATCH_MAX = 64
# The rest waits at the sender, whose retry is free, instead of in our memory.
WAITING_MAX = 10_000
CHECK_INTERVAL_S = 10.0
RECHECK_INTERVAL_S = 1.0
WATCH_INTERVAL_S = 0.1
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.05, 1.0

Values = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]
"""event id (32 hex digits), source id, key, event type, content type, received ms, body, id of the
secret that verified it or b"", why it is quarantined or b"", digest of the body"""

Answer = asyncio.Future[bytes]
"""b"" where the event was appended, else the id of the event that had its key before."""


class Batch:
    """Events that travel in one command."""

    __slots__ = ("answers", "keys", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.answers: list[Answer] = []

    def command(self, *script: bytes | str) -> Command:
        ttl = settings.DEDUP_TTL_S
        return (*script, len(self.keys) + 1, STREAM, *self.keys, ttl, *self.values)

    def succeed(self, reply: Sequence[bytes]) -> None:
        for answer, earlier in zip(self.answers, reply, strict=True):
            if not answer.done():
                answer.set_result(earlier)

    def fail(self, error: QueueError) -> None:
        for answer in self.answers:
            if not answer.done():
                answer.set_exception(error)


class Appender:
    """Appends to one shard over one connection, which it keeps open and checks by itself."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url
        self._connection: Connection | None = None
        self._batch = Batch()
        self._waiting = 0
        self._refusal: QueueError | None = QueueDown("The queue is not connected yet.")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; call it inside the loop that appends."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._keep_connected())

    async def stop(self) -> None:
        """Close the connection; what still waits fails with QueueDown."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def append(self, dedup_key: bytes, values: Values) -> Answer:
        """Put an event into the next write. The answer comes after the fsync, or a QueueError:
        then the outcome is unknown, and the sender's retry finds out, thanks to the dedup key.

        Raises QueueError at once where the shard takes nothing now.
        """
        if self._refusal is not None:
            raise self._refusal.__class__(str(self._refusal))
        if self._waiting >= WAITING_MAX:
            raise QueueDown("Too many events wait for the queue server.")
        batch = self._batch
        if not batch.keys:
            self._loop.call_soon(self._flush)
        elif len(batch.keys) >= BATCH_MAX:
            self._flush()
            batch = self._batch
            self._loop.call_soon(self._flush)
        self._waiting += 1
        answer: Answer = self._loop.create_future()
        batch.keys.append(dedup_key)
        batch.values += values
        batch.answers.append(answer)
        return answer

    def _flush(self) -> None:
        batch = self._batch
        if not batch.keys:
            return
        self._batch = Batch()
        self._send(batch, b"EVALSHA", scripts.APPEND_SHA)

    def _send(self, batch: Batch, *script: bytes | str) -> None:
        if self._connection is None:
            self._waiting -= len(batch.keys)
            batch.fail(QueueDown("The connection to the queue server was lost."))
            return
        self._connection.send(batch.command(*script), lambda reply: self._settle(batch, reply))

    def _settle(self, batch: Batch, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            # Restarted or flushed server: EVAL also makes it known again.
            self._send(batch, b"EVAL", scripts.APPEND)
            return
        self._waiting -= len(batch.keys)
        if isinstance(reply, Exception):
            batch.fail(reply if isinstance(reply, QueueError) else translate(reply))
        else:
            batch.succeed(reply)

    async def _keep_connected(self) -> None:
        backoff_s = BACKOFF_MIN_S
        while True:
            try:
                async with asyncio.timeout(settings.INGEST_TIMEOUT_S):
                    connection = await _connect(self._url)
            except QueueError as error:
                self._refuse(error)
            except TimeoutError as error:
                self._refuse(translate(error))
            else:
                backoff_s = BACKOFF_MIN_S
                await self._serve(connection)
            await asyncio.sleep(backoff_s * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _serve(self, connection: Connection) -> None:
        """Until the connection is lost or a reply takes too long."""
        self._connection = connection
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(connection))
                check = group.create_task(self._check(connection))
                await connection.lost
                watch.cancel()
                check.cancel()
            self._refuse(QueueDown("The connection to the queue server was lost."))
        finally:
            self._connection = None
            connection.abort()

    async def _watch(self, connection: Connection) -> None:
        # One timer for all requests: a timeout for each would cost more than its write.
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            sent_at = connection.oldest_sent_at
            if sent_at is not None and self._loop.time() - sent_at > settings.INGEST_TIMEOUT_S:
                connection.abort()

    async def _check(self, connection: Connection) -> None:
        # The first look comes before the first event: a restarted server may have other settings.
        while True:
            try:
                self._judge(await durability.ask(self.name, connection))
            except QueueError as error:
                self._refuse(error)
            ok = self._refusal is None
            await asyncio.sleep(CHECK_INTERVAL_S if ok else RECHECK_INTERVAL_S)

    def _judge(self, verdict: Durability) -> None:
        if verdict.ok:
            if self._refusal is not None:
                logger.info("Queue shard %s takes events.", self.name)
            self._refusal = None
        else:
            self._refuse(QueueNotDurable(verdict.why))

    def _refuse(self, error: QueueError) -> None:
        if str(error) != str(self._refusal):
            logger.warning("Queue shard %s takes no events: %s", self.name, error)
        self._refusal = error


async def _connect(url: str) -> Connection:
    """A connection whose server knows the script; raises QueueError."""
    connection = await connect(url)
    try:
        await connection.call("SCRIPT", "LOAD", scripts.APPEND)
    except hiredis.ReplyError as error:
        connection.abort()
        raise translate(error) from error
    return connection


class Appenders:
    """The shards of QUEUE_URL; an event's shard comes from its source and ordering key."""

    def __init__(self) -> None:
        addresses = get_addresses()
        self._placement = Placement([address.name for address in addresses])
        self._shards = [Appender(address.name, address.url) for address in addresses]

    def start(self) -> None:
        for shard in self._shards:
            shard.start()

    async def stop(self) -> None:
        for shard in self._shards:
            await shard.stop()

    def append(self, slug: bytes, ordering_key: bytes, dedup_key: bytes, values: Values) -> Answer:
        """As `Appender.append`, on the shard of this ordering key."""
        shards = self._shards
        if len(shards) == 1:
            return shards[0].append(dedup_key, values)
        return shards[self._placement.find(slug, ordering_key)].append(dedup_key, values)
