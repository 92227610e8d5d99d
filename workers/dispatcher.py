"""The dispatcher: takes entries from the queue, makes them events, starts their workflows.

An entry is settled when its event's row is committed: from then on the database owns the event,
and a workflow that could not be started is started by the reconciler. Dying anywhere before only
means that the entry comes again, and the database knows it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections
from prometheus_client import Counter, Histogram, start_http_server
from temporalio.client import Client

from apps.events import intake
from apps.events.intake import AWAY, DatabaseAway, Intake
from apps.events.models import Event
from apps.events.workflow_client import connect, start_all
from apps.streams.entries import Entry
from apps.streams.errors import QueueError
from apps.streams.shard import Shard, get_shards
from workers.signs_of_life import beat_until, listen_for_stop, wait_for_stop

T = TypeVar("T")
BATCH_SIZE = Histogram(
    "pipeline_dispatcher_batch_size",
    "Entries handled at once",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
BURIED = Counter("pipeline_dispatcher_buried", "Entries moved aside", ["reason"])
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often the dispatcher does what. Tests are more hurried."""

    block_ms: int = 1000
    full_pause_s: float = 0.1  # enough workflows are open: look again
    reclaim_every_s: float = 5.0
    reclaim_idle_ms: int = 15_000  # longer than a batch takes, or it is handled twice
    trim_every_s: float = 30.0
    max_deliveries: int = 5
    error_pause_s: float = 0.5
    error_pause_max_s: float = 5.0


class ShardLoop:
    """The loop over one shard."""

    def __init__(
        self, shard: Shard, client: Client, executor: Executor, consumer: str, pace: Pace
    ) -> None:
        self.shard = shard
        self.client = client
        self.executor = executor
        self.consumer = consumer
        self.pace = pace
        self.next_reclaim_s = self.next_trim_s = 0.0
        self.unstored: Sequence[Entry] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until told to stop, whatever is down meanwhile; a batch begun is finished."""
        failures = 0
        while not stop.is_set():
            try:
                await self.turn(stop)
                failures = 0
            except (QueueError, DatabaseAway) as error:
                failures += 1
                pause_s = min(
                    self.pace.error_pause_s * 2 ** min(failures, 10), self.pace.error_pause_max_s
                )
                logger.warning(
                    "Shard %s: %s, again in %.0f s", self.shard.name, error.code, pause_s
                )
                await wait_for_stop(stop, pause_s)

    async def turn(self, stop: asyncio.Event) -> None:
        """Take, handle, settle; now and then what dead dispatchers left, and the trim."""
        # A database that reads may still refuse to write. The batch it refused is kept and tried
        # again: reclaimed instead, it would be counted up until it is buried for no fault of its.
        if self.unstored:
            await self.handle(self.unstored)
            return
        # Asks the database first: while that is away, no entry is taken.
        room = await self.in_database(count_room)
        if room <= 0:
            await wait_for_stop(stop, self.pace.full_pause_s)
            return
        count = min(room, settings.DISPATCHER_BATCH)
        now_s = time.monotonic()
        if now_s >= self.next_trim_s:
            await self.shard.trim()
            self.next_trim_s = now_s + self.pace.trim_every_s
        if now_s >= self.next_reclaim_s:
            left = await self.shard.reclaim(self.consumer, self.pace.reclaim_idle_ms, count)
            await self.handle(left)
            # Where there was one, there may be more.
            self.next_reclaim_s = 0.0 if left else now_s + self.pace.reclaim_every_s
            if left:
                return
        await self.handle(await self.shard.read(self.consumer, count, self.pace.block_ms))

    async def handle(self, entries: Sequence[Entry]) -> None:
        """Store, start, settle; bury what came too often."""
        if not entries:
            return
        BATCH_SIZE.observe(len(entries))
        # One more than allowed: it has ended a dispatcher before that could bury it.
        for entry in entries:
            if entry.deliveries > self.pace.max_deliveries:
                await self.bury(entry, "delivered_too_often")
        fresh = [entry for entry in entries if entry.deliveries <= self.pace.max_deliveries]
        self.unstored = fresh
        done = await self.in_database(lambda: intake.store(fresh))
        await self.start(done)
        self.unstored = ()
        await self.shard.settle([entry.id for entry in done.settled])
        for entry, code in done.refused:
            await self.bury(entry, code)
        for entry in done.failed:
            if entry.deliveries >= self.pace.max_deliveries:
                await self.bury(entry, "not_stored")

    async def start(self, done: Intake) -> None:
        """Start the workflows, and show those events as running that are still queued."""
        started = await start_all(self.client, done.to_start)
        if started:
            ids = [UUID(run.event_id) for run in started]
            await self.in_database(lambda: Event.mark_running(ids))

    async def bury(self, entry: Entry, code: str) -> None:
        await self.shard.bury(entry, code)
        BURIED.labels(reason=code).inc()
        logger.error("Entry %s of shard %s is buried: %s", entry.id, self.shard.name, code)

    async def in_database(self, work: Callable[[], T]) -> T:
        """The answer of `work`, done in the thread that has the connection."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, lambda: with_connection(work))


def with_connection(work: Callable[[], T]) -> T:
    """Do it on a connection that works. Raises DatabaseAway."""
    close_old_connections()
    try:
        return work()
    except AWAY as error:
        close_old_connections()
        raise DatabaseAway from error


def count_room() -> int:
    """How many more events may run. Those that wait for a limit have a bound of their own, so that
    one pipeline's do not hold up all others; no count goes further than its bound."""
    active_max, waiting_max = settings.OPEN_WORKFLOWS_MAX, settings.WAITING_WORKFLOWS_MAX
    room = active_max - Event.count_active(active_max)
    return room if room and Event.count_waiting(waiting_max) < waiting_max else 0


def get_consumer_name() -> str:
    """Unique for each process, so that what a dead one left can be told from what is handled."""
    return f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"


async def run_dispatcher(pace: Pace | None = None) -> None:
    """Work on all shards until SIGTERM or SIGINT."""
    stop = listen_for_stop()
    if settings.METRICS_PORT_DISPATCHER:
        start_http_server(settings.METRICS_PORT_DISPATCHER, settings.METRICS_HOST)
    await dispatch(stop, pace or Pace())


async def dispatch(stop: asyncio.Event, pace: Pace) -> None:
    """Work on all shards until `stop` is set."""
    client = await connect(lazy=True)
    shards = get_shards()
    with ThreadPoolExecutor(len(shards), "store") as executor:
        consumer = get_consumer_name()
        loops = [ShardLoop(shard, client, executor, consumer, pace) for shard in shards]
        logger.info("Dispatcher ready: %d shards.", len(shards))
        try:
            await asyncio.gather(
                beat_until(stop, "dispatcher"), *(loop.run(stop) for loop in loops)
            )
        finally:
            for shard in shards:
                await shard.close()
