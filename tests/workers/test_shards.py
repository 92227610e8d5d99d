"""Shards come and go under load: every acknowledged event becomes one event, whoever is down."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.events.ids import new_event_hex
from apps.events.models import Event
from apps.sources.models import Source
from apps.streams.addresses import get_name
from apps.streams.appender import Appenders
from apps.streams.clients import get_client
from apps.streams.depth import get_depths
from apps.streams.entries import STREAM
from apps.streams.errors import QueueError
from apps.streams.placement import Placement
from pipeline_admin.bootstrap.parts import STOP_WORKERS_S
from tests.fixtures.servers import Server
from tests.waiting import wait_until
from tests.workers.conftest import Part, Rig

AT_ONCE = 8
STEP = 100  # events between two steps of a change
Start = Callable[[], Server]


class Ingest:
    """Appends events of its own until it is stopped, each until it is acknowledged, as ingest and
    a good sender do together. Now and then it sends one a second time.
    """

    def __init__(self, source: Source, name: str) -> None:
        self.source, self.name = source, name
        self.acknowledged: list[bytes] = []
        self.appenders = Appenders()  # the shards of now, whatever the settings say later

    async def run(self, stop: asyncio.Event) -> None:
        self.appenders.start()
        chance, number = random.Random(self.name), 0
        while not stop.is_set():
            keys = [b"%b-%d" % (self.name.encode(), number + each) for each in range(AT_ONCE)]
            repeated = chance.sample(self.acknowledged, min(1, len(self.acknowledged)))
            await asyncio.gather(*(self.send(key) for key in keys + repeated))
            self.acknowledged += keys
            number += AT_ONCE
        await self.appenders.stop()

    async def wait(self, stop: asyncio.Event) -> None:
        """Only be there until it is stopped."""
        self.appenders.start()
        await stop.wait()
        await self.appenders.stop()

    async def send(self, key: bytes) -> bytes:
        """What the queue said of it, once it took it."""
        while True:
            try:
                return await append(self.appenders, self.source, key)
            except QueueError:
                await asyncio.sleep(0.02)


def append(appenders: Appenders, source: Source, key: bytes) -> asyncio.Future[bytes]:
    values = (
        *(new_event_hex().encode(), b"%d" % source.pk, key, b"ticket", b"application/json"),
        *(b"%d" % (time.time() * 1000), b'{"text": "%b"}' % key, b"", b"", b"digest"),
    )
    return appenders.append(source.slug.encode(), key, b"d:%d:%b" % (source.pk, key), values)


class System:
    """Two ingest processes and two dispatchers, which are replaced one after the other."""

    def __init__(self, rig: Rig, source: Source, log: pytest.LogCaptureFixture) -> None:
        self.rig, self.source, self.log = rig, source, log
        self.ingests: list[tuple[Ingest, Part]] = []
        self.dispatchers: list[Part] = []
        self.stopped: list[Ingest] = []
        for _ in range(2):
            self.start_dispatcher()
            self.start_ingest()

    @property
    def acknowledged(self) -> list[str]:
        ingests = self.stopped + [ingest for ingest, _ in self.ingests]
        return [key.decode() for ingest in ingests for key in ingest.acknowledged]

    def start_ingest(self) -> None:
        ingest = Ingest(self.source, f"ingest-{len(self.ingests) + len(self.stopped)}")
        self.ingests.append((ingest, self.rig.start(ingest.run)))

    def start_dispatcher(self) -> None:
        ready = self.count_ready()
        self.dispatchers.append(self.rig.start_dispatcher())
        wait_until(lambda: self.count_ready() > ready, what="a dispatcher")

    def count_ready(self) -> int:
        return sum("Dispatcher ready" in record.message for record in self.log.records)

    def stop_ingest(self) -> None:
        ingest, part = self.ingests.pop(0)
        part.stop()
        self.stopped.append(ingest)

    def stop_ingests(self, spool: Path) -> None:
        """In order; what the local spool still holds is fed to the queue by the next process."""
        for _ in range(2):
            self.stop_ingest()
        heir = self.rig.start(Ingest(self.source, "heir").wait)
        wait_until(lambda: not [*spool.rglob("*.spool")], 20, "an empty spool")
        heir.stop()

    def go_on(self) -> None:
        """Until so many more events are acknowledged."""
        goal = len(self.acknowledged) + STEP
        wait_until(lambda: len(self.acknowledged) >= goal, 20, "more events")

    def roll_dispatchers(self) -> None:
        for _ in range(2):
            self.start_dispatcher()
            self.dispatchers.pop(0).stop()
            self.go_on()

    def roll_ingests(self) -> None:
        for _ in range(2):
            self.start_ingest()
            self.go_on()
            self.stop_ingest()


@pytest.fixture
def shards(settings: Any, own_valkey: Start, own_redis: Start, tmp_path: Path) -> list[Server]:
    """Three servers, as QUEUE_URL names them; the second is a Redis 7.0."""
    servers = [own_valkey(), own_redis(), own_valkey()]
    settings.QUEUE_URLS = [server.address for server in servers]
    settings.QUEUE_DRAIN_URLS = []
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"  # the events wait for it: here they only arrive
    settings.OPEN_WORKFLOWS_MAX = 1_000_000
    settings.SPOOL_DIR = tmp_path / "spool"
    return servers


@pytest.fixture
def rig(transactional_db: None, shards: list[Server]) -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.stop()


def count_waiting() -> dict[str, int | None]:
    """How much waits in each shard; None where it does not answer."""
    return {shard.shard: shard.depth.length if shard.depth else None for shard in get_depths()}


def get_keys() -> list[str]:
    return list(Event.objects.values_list("idempotency_key", flat=True))


def test_one_shard_is_added_and_another_removed_under_load_and_no_event_is_lost_or_doubled(
    rig: Rig,
    helpdesk: Source,
    shards: list[Server],
    settings: Any,
    own_valkey: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    one, two, three = settings.QUEUE_URLS
    system = System(rig, helpdesk, caplog)
    system.go_on()

    four = own_valkey().address
    settings.QUEUE_URLS = [one, two, three, four]
    system.roll_dispatchers()
    system.roll_ingests()
    wait_until(lambda: get_client(four).xinfo_stream(STREAM)["entries-added"] > 0)

    settings.QUEUE_URLS, settings.QUEUE_DRAIN_URLS = [one, three, four], [two]
    system.roll_ingests()
    system.roll_dispatchers()
    wait_until(lambda: count_waiting()[get_name(two)] == 0, what="the second shard to be empty")
    settings.QUEUE_DRAIN_URLS = []
    system.roll_dispatchers()
    shards[1].stop()
    system.go_on()

    system.stop_ingests(settings.SPOOL_DIR)
    wait_until(lambda: not any(count_waiting().values()), 20, "an empty queue")
    assert sorted(get_keys()) == sorted(system.acknowledged)


def test_a_duplicate_that_comes_after_its_key_has_moved_makes_no_second_event(
    rig: Rig, helpdesk: Source, settings: Any
) -> None:
    settings.SPOOL_MAX_BYTES = 0  # it would keep the first event for the shards of later
    find = Placement([get_name(url) for url in settings.QUEUE_URLS]).find
    slug, keys = helpdesk.slug.encode(), [b"key-%d" % number for number in range(100)]
    key = next(key for key in keys if find(slug, key) == 0)
    first = Ingest(helpdesk, "before")
    settings.QUEUE_DRAIN_URLS = [settings.QUEUE_URLS.pop(0)]
    second = Ingest(helpdesk, "after")
    for ingest in (first, second):
        assert asyncio.run(send_alone(ingest, key)) == b""  # each shard sees it for the first time
    assert sorted(count_waiting().values(), key=str) == [0, 1, 1]
    rig.start_dispatcher()
    wait_until(lambda: not any(count_waiting().values()), what="an empty queue")
    assert get_keys() == [key.decode()]


async def send_alone(ingest: Ingest, key: bytes) -> bytes:
    ingest.appenders.start()
    try:
        return await ingest.send(key)
    finally:
        await ingest.appenders.stop()


def test_a_frozen_and_a_dead_shard_keep_no_other_from_being_dispatched(
    rig: Rig,
    helpdesk: Source,
    shards: list[Server],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    shards[0].kill()
    os.kill(shards[1].process.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert list(count_waiting().values()) == [None, None, 0]
    assert time.monotonic() - began < 2
    system = System(rig, helpdesk, caplog)
    find, slug = system.ingests[0][0].appenders._placement.find, helpdesk.slug.encode()
    wait_until(lambda: len(get_keys()) > 50, 20, "the third shard's events")
    assert {find(slug, key.encode()) for key in get_keys()} == {2}
    began = time.monotonic()
    system.dispatchers.pop().stop()
    assert time.monotonic() - began < STOP_WORKERS_S
    os.kill(shards[1].process.pid, signal.SIGCONT)
    shards[0].start()
    system.stop_ingests(settings.SPOOL_DIR)
    wait_until(lambda: sorted(get_keys()) == sorted(system.acknowledged), 30, "all events")
    wait_until(lambda: set(count_waiting().values()) == {0}, what="an empty queue")
