"""Group commit: many events, few commands; several shards; Valkey 9.1 and Redis 7.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from apps.streams.appender import WAITING_MAX, Appenders
from apps.streams.clients import get_client
from apps.streams.entries import STREAM
from apps.streams.errors import QueueDown
from tests.fixtures.servers import Server


@pytest.fixture(autouse=True)
def _no_spool(settings: Any) -> None:
    settings.SPOOL_MAX_BYTES = 0


def values(key: bytes) -> Any:
    event = (b"%032x" % hash(key), b"1", key, b"", b"application/json", b"1700000000000", b"{}")
    return (*event, b"5", b"", b"digest")


def append(appenders: Appenders, key: bytes, slug: bytes = b"shop") -> asyncio.Future[bytes]:
    return appenders.append(slug, key, b"d:1:" + key, values(key))


async def ready(appenders: Appenders) -> Appenders:
    """Until every shard takes events."""
    appenders.start()
    async with asyncio.timeout(5):
        while any(shard._refusal for shard in appenders._shards):
            await asyncio.sleep(0.01)
    return appenders


@pytest.fixture
async def appenders(queue: Any) -> AsyncIterator[Appenders]:
    appenders = await ready(Appenders())
    yield appenders
    await appenders.stop()


async def test_a_thousand_events_at_once_travel_in_few_commands(
    appenders: Appenders, queue: Any
) -> None:
    before = calls(queue)
    answers = await asyncio.gather(*(append(appenders, b"key %d" % n) for n in range(1000)))
    assert answers == [b""] * 1000
    assert queue.xlen(STREAM) == 1000
    assert calls(queue) - before <= 20


def calls(queue: Any) -> int:
    stats = queue.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval")
    return sum(int(stats[name]["calls"]) for name in names if name in stats)


async def test_one_batch_may_hold_the_same_key_twice(appenders: Appenders) -> None:
    first, second = append(appenders, b"a"), append(appenders, b"a")
    assert await first == b""
    assert await second == values(b"a")[0]


async def test_too_many_waiting_events_are_refused_at_once(appenders: Appenders) -> None:
    waiting = [append(appenders, b"key %d" % n) for n in range(WAITING_MAX)]
    with pytest.raises(QueueDown):
        append(appenders, b"one more")
    await asyncio.gather(*waiting)
    assert await append(appenders, b"one more") == b""


async def test_events_wait_for_no_answer_that_cannot_come(
    own_server: Callable[[], Server], settings: Any
) -> None:
    server = own_server()
    settings.QUEUE_URLS = [server.address]
    appenders = await ready(Appenders())
    server.kill()
    for key in (b"a", b"b"):
        with pytest.raises(QueueDown):
            await append(appenders, key)
    await appenders.stop()


async def test_a_key_keeps_its_shard_and_shards_share_the_work(
    own_server: Callable[[], Server], settings: Any
) -> None:
    settings.QUEUE_URLS = [own_server().address, own_server().address]
    for _ in range(2):
        appenders = await ready(Appenders())
        await asyncio.gather(*(append(appenders, b"key %d" % n) for n in range(100)))
        await appenders.stop()
    lengths = [get_client(url).xlen(STREAM) for url in settings.QUEUE_URLS]
    assert sum(lengths) == 100
    assert min(lengths) > 20
    for url in settings.QUEUE_URLS:
        get_client(url).close()


async def test_it_signs_in_with_the_password_of_the_url(
    own_server: Callable[[], Server], settings: Any
) -> None:
    address = own_server().address
    client: Any = get_client(address)
    client.execute_command("ACL SETUSER ada on >secret ~* &* +@all")
    client.execute_command("ACL SETUSER default off")
    settings.QUEUE_URLS = [address.replace("unix://", "unix://ada:secret@") + "?db=3"]
    appenders = await ready(Appenders())
    assert await append(appenders, b"a") == b""
    await appenders.stop()
    assert get_client(settings.QUEUE_URLS[0]).xlen(STREAM) == 1
    client.close()
    get_client(settings.QUEUE_URLS[0]).close()
