"""Group commit: events that arrive together share one write and one fsync."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import hiredis
from django.conf import settings

from apps.streams import durability, scripts
from apps.streams.addresses import get_addresses
from apps.streams.connection import Command, Connection, connect
from apps.streams.ending import end
from apps.streams.entries import STREAM, Durability, Values, pack
from apps.streams.errors import QueueDown, QueueError, QueueFull, QueueNotDurable, translate
from apps.streams.placement import Placement
from apps.streams.spool.feeder import Feeder
from apps.streams.spool.records import Record
from apps.streams.spool.spool import Spool

logger = logging.getLogger(__name__)

# More events in one script would keep the server from its other clients for over a millisecond.
BATCH_MAX = 64
# The rest waits at the sender, whose retry is free, instead of in our memory.
WAITING_MAX = 10_000
CHECK_INTERVAL_S = 10.0
RECHECK_INTERVAL_S = 1.0
WATCH_INTERVAL_S = 0.1
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.05, 1.0

Answer = asyncio.Future[bytes]
"""b"" where the event was appended, else the id of the event that had its key before."""


class Batch:
    """Events that travel in one command."""

    __slots__ = ("answers", "keys", "places", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[Values] = []
        # Slug and ordering key, so that the spool can keep the event; b"" for what comes from it.
        self.places: list[tuple[bytes, bytes]] = []
        self.answers: list[Answer] = []

    def command(self, *script: bytes | str) -> Command:
        events: list[bytes] = []
        for values in self.values:
            events += (values[0] + values[-1], pack(values))
        return (*script, len(self.keys) + 1, STREAM, *self.keys, settings.DEDUP_TTL_S, *events)

    def succeed(self, reply: Sequence[bytes]) -> None:
        for answer, earlier in zip(self.answers, reply, strict=True):
            if not answer.done():
                answer.set_result(earlier)

    def fail(self, error: QueueError) -> None:
        for answer in self.answers:
            if not answer.done():
                answer.set_exception(error)

    def get_records(self) -> list[Record]:
        return [
            Record(*place, key, values)
            for place, key, values in zip(self.places, self.keys, self.values, strict=True)
        ]


class Appender:
    """Appends to one shard over one connection, which it keeps open and checks by itself."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url
        self._connection: Connection | None = None
        self._batch = Batch()
        self._waiting = 0
        self._refusal: QueueError | None = QueueDown("The queue is not connected yet.")
        self._spool: Feeder | None = None
        self._is_behind = False  # events wait in the spool: new ones go behind them
        self._is_closed = True  # refused, or behind: one look for each event
        self._task: asyncio.Task[None] | None = None

    def start(self, spool: Spool | None = None) -> None:
        """Begin to connect; call it inside the loop that appends. With a spool, that takes in what
        the server can't.
        """
        self._loop = asyncio.get_running_loop()
        if spool is not None:
            self._spool = spool.add_shard(
                self.name, self._pass_on, self._gate, lambda: self._refusal is None
            )
        self._task = self._loop.create_task(self._keep_connected())

    async def stop(self) -> None:
        """Close the connection; what still waits fails with QueueDown."""
        if self._task is not None:
            await end(self._task)

    def append(self, slug: bytes, ordering_key: bytes, dedup_key: bytes, values: Values) -> Answer:
        """Put an event into the next write. The answer comes after the fsync, here or in the
        spool, or a QueueError: then the outcome is unknown, and the sender's retry finds out,
        thanks to the dedup key.

        Raises QueueError at once where neither takes anything now.
        """
        if self._is_closed or self._waiting >= WAITING_MAX:
            return self._detour(Record(slug, ordering_key, dedup_key, values))
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
        batch.values.append(values)
        batch.places.append((slug, ordering_key))
        batch.answers.append(answer)
        return answer

    async def deliver(self, records: Sequence[Record]) -> None:
        """Append what waited in the spool. Raises QueueError: then it waits on."""
        if self._refusal is not None:
            raise self._refusal.__class__(str(self._refusal))
        answers = await self._append_all(records, b"EVALSHA", scripts.APPEND_SHA)
        # The event's own id, where an earlier try had come through; or that of an event that was
        # accepted before, whose duplicate this one is. Its sender knows it by an id of its own.
        told = [
            record
            for record, earlier in zip(records, answers, strict=True)
            if earlier not in (b"", record.event_id)
        ]
        if told:
            await self._append_all(told, b"EVAL", scripts.APPEND_TOLD)

    async def _append_all(self, records: Sequence[Record], *script: bytes | str) -> list[bytes]:
        batch = Batch()
        for record in records:
            batch.keys.append(record.dedup_key)
            batch.values.append(record.values)
            batch.answers.append(self._loop.create_future())
        self._waiting += len(records)
        self._send(batch, *script)
        answers: list[bytes] = []
        for outcome in await asyncio.gather(*batch.answers, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            answers.append(outcome)
        return answers

    # --- Where the server takes nothing ----------------------------------------------------------

    def _detour(self, record: Record) -> Answer:
        error = self._refusal
        if error is None and self._is_behind:
            error = QueueFull("Older events wait in the local spool, and it takes no more.")
        if error is None:
            error = QueueDown("Too many events wait for the queue server.")
        if self._spool is None:
            raise error.__class__(str(error))
        return self._spool.take(record, error)

    def _fail(self, batch: Batch, error: QueueError) -> None:
        if self._spool is not None and batch.places:
            self._spool.lane.rescue(batch.get_records(), batch.answers, error)
        else:
            batch.fail(error)

    def _gate(self, is_behind: bool) -> None:
        self._is_behind = is_behind
        self._is_closed = is_behind or self._refusal is not None

    def _pass_on(self, record: Record, answer: Answer) -> None:
        """Append an event that was held back for the last of the spool."""

        def copy(own: Answer) -> None:
            if answer.done():
                own.exception()  # the sender is gone
            elif error := own.exception():
                answer.set_exception(error)
            else:
                answer.set_result(own.result())

        try:
            self.append(*record).add_done_callback(copy)
        except QueueError as error:
            if not answer.done():
                answer.set_exception(error)

    # --- The connection --------------------------------------------------------------------------

    def _flush(self) -> None:
        batch = self._batch
        if not batch.keys:
            return
        self._batch = Batch()
        self._send(batch, b"EVALSHA", scripts.APPEND_SHA)

    def _send(self, batch: Batch, *script: bytes | str) -> None:
        if self._connection is None:
            self._waiting -= len(batch.keys)
            self._fail(batch, QueueDown("The connection to the queue server was lost."))
            return
        self._connection.send(batch.command(*script), lambda reply: self._settle(batch, reply))

    def _settle(self, batch: Batch, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            # Restarted or flushed server: EVAL also makes it known again.
            self._send(batch, b"EVAL", scripts.APPEND)
            return
        self._waiting -= len(batch.keys)
        if isinstance(reply, Exception):
            self._fail(batch, reply if isinstance(reply, QueueError) else translate(reply))
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
            self._gate(self._is_behind)
        else:
            self._refuse(QueueNotDurable(verdict.why))

    def _refuse(self, error: QueueError) -> None:
        if str(error) != str(self._refusal):
            logger.warning("Queue shard %s takes no events: %s", self.name, error)
        self._refusal = error
        self._is_closed = True


async def _connect(url: str) -> Connection:
    """A connection whose server knows the script and has no torn transaction; raises QueueError."""
    known = ("SCRIPT", "LOAD", scripts.APPEND)
    return await connect(url, known, ("EVAL", scripts.CLOSE, 1, scripts.CLOSE_KEY))


class Appenders:
    """The shards of QUEUE_URL; an event's shard comes from its source and ordering key."""

    def __init__(self) -> None:
        addresses = get_addresses()
        self._placement = Placement([address.name for address in addresses])
        self._shards = [Appender(address.name, address.url) for address in addresses]
        self._spool: Spool | None = None

    def start(self) -> None:
        """Connect; call it inside the loop that appends."""
        if settings.SPOOL_MAX_BYTES:
            self._spool = Spool(self._deliver)
        for shard in self._shards:
            shard.start(self._spool)
        if self._spool is not None:
            self._spool.start()

    async def stop(self) -> None:
        """Close the connections; what still waits goes to the spool, or fails with QueueDown."""
        for shard in self._shards:
            await shard.stop()
        if self._spool is not None:
            await self._spool.stop()

    def append(self, slug: bytes, ordering_key: bytes, dedup_key: bytes, values: Values) -> Answer:
        """As `Appender.append`, on the shard of this ordering key."""
        shards = self._shards
        if len(shards) == 1:
            return shards[0].append(slug, ordering_key, dedup_key, values)
        shard = shards[self._placement.find(slug, ordering_key)]
        return shard.append(slug, ordering_key, dedup_key, values)

    async def _deliver(self, records: Sequence[Record]) -> None:
        """As `Appender.deliver`: the shards may be others than when the events came."""
        find = self._placement.find
        for place, group in groupby(records, lambda each: find(each.slug, each.ordering_key)):
            await self._shards[place].deliver(list(group))
