"""What the dispatcher relies on: nothing unsettled is ever lost, whoever dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.exceptions

from apps.streams.entries import DEAD_STREAM, GROUP, STREAM, Depth, Entry
from apps.streams.errors import QueueDown
from apps.streams.shard import Shard, get_shards
from tests.fixtures.entries import read_entries
from tests.streams.conftest import NAME, Append


async def read(shard: Shard, consumer: str = "one", count: int = 10) -> list[Entry]:
    return await shard.read(consumer, count, block_ms=10)


async def test_it_reads_entries_once_and_oldest_first(shard: Shard, append: Append) -> None:
    append("a", "b", "c")
    first, rest = await read(shard, "one", 2), await read(shard, "two")
    assert [entry.key for entry in first + rest] == ["a", "b", "c"]
    assert await read(shard) == []


async def test_an_entry_holds_what_was_appended(shard: Shard, append: Append) -> None:
    append("msg_1", body=b"\x00\xff")
    (entry,) = await read(shard)
    assert entry == Entry(
        id=entry.id,
        shard=NAME,
        event_id="0" * 32,
        source_id=7,
        key="msg_1",
        event_type="ticket",
        content_type="application/json",
        received_ms=1_700_000_000_000,
        body=b"\x00\xff",
        deliveries=1,
        secret_id=5,
        quarantine="not as the schema asks",
    )


def test_the_same_key_is_appended_once_and_answered_with_the_first_id(
    append: Append, queue: Any
) -> None:
    assert append("other", "a") == [b"", b""]
    assert append("a") == [b"%032x" % 1]
    assert append("new", "new") == [b"", b"%032x" % 0]
    assert queue.xlen(STREAM) == 3


def test_another_body_under_the_same_key_is_appended_and_answered_with_the_first_id(
    append: Append, queue: Any
) -> None:
    append("a")
    assert append("a", body=b"another") == [b"%032x" % 0]
    assert [entry.body for entry in read_entries(queue)] == [b'{"n": 1}', b"another"]


def test_no_dedup_key_claims_an_event_that_could_not_be_appended(
    append: Append, queue: Any
) -> None:
    queue.set(STREAM, "not a stream")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        append("a")
    queue.delete(STREAM)
    assert append("a") == [b""]


def test_a_dedup_key_of_an_earlier_release_knows_no_body(append: Append, queue: Any) -> None:
    queue.set("d:7:a", "f" * 32)
    assert append("a") == [b"f" * 32]
    assert queue.xlen(STREAM) == 0


async def test_it_waits_for_an_entry(shard: Shard, append: Append) -> None:
    waiting = asyncio.create_task(shard.read("one", 10, block_ms=5000))
    await asyncio.sleep(0.05)
    append("a")
    assert [entry.key for entry in await waiting] == ["a"]


async def test_a_lost_group_is_created_again_and_reads_everything(
    shard: Shard, append: Append, queue: Any
) -> None:
    append("a")
    await read(shard)
    queue.xgroup_destroy(STREAM, GROUP)
    assert await read(shard) == []
    assert [entry.key for entry in await read(shard)] == ["a"]


async def test_a_lost_stream_is_created_again_even_under_a_waiting_reader(
    shard: Shard, append: Append, queue: Any
) -> None:
    waiting = asyncio.create_task(shard.read("one", 10, block_ms=5000))
    await asyncio.sleep(0.05)
    queue.flushall()
    assert await waiting == []
    append("a")
    assert [entry.key for entry in await read(shard)] == ["a"]


async def test_a_dead_consumers_entries_are_reclaimed_and_their_deliveries_counted(
    shard: Shard, append: Append
) -> None:
    append("a", "b")
    await read(shard, "dead")
    for deliveries in (2, 3):
        entries = await shard.reclaim("alive", min_idle_ms=0, count=10)
        assert [(entry.key, entry.deliveries) for entry in entries] == [
            ("a", deliveries),
            ("b", deliveries),
        ]


async def test_a_living_consumers_entries_are_left_alone(shard: Shard, append: Append) -> None:
    append("a")
    await read(shard, "alive")
    assert await shard.reclaim("other", min_idle_ms=60_000, count=10) == []


async def test_reclaiming_goes_on_where_it_ended(shard: Shard, append: Append) -> None:
    append(*"abcde")
    await read(shard, "dead")
    seen = [await shard.reclaim("alive", min_idle_ms=0, count=2) for _ in range(3)]
    assert [entry.key for entries in seen for entry in entries] == list("abcde")


async def test_two_reclaimers_never_get_the_same_entry(shard: Shard, append: Append) -> None:
    append(*"abcdefgh")
    await read(shard, "dead")
    await asyncio.sleep(0.2)
    (other,) = get_shards()
    async with other:
        both = await asyncio.gather(
            shard.reclaim("one", min_idle_ms=150, count=8),
            other.reclaim("two", min_idle_ms=150, count=8),
        )
    assert sorted(entry.key for entries in both for entry in entries) == list("abcdefgh")


async def test_settled_entries_do_not_come_again(shard: Shard, append: Append) -> None:
    append("a", "b")
    entries = await read(shard)
    assert await shard.settle([entry.id for entry in entries]) == 2
    assert await shard.settle([]) == 0
    assert await shard.reclaim("other", min_idle_ms=0, count=10) == []


async def test_a_buried_entry_is_kept_with_its_reason_and_settled(
    shard: Shard, append: Append, queue: Any
) -> None:
    append("a")
    (entry,) = await read(shard)
    await shard.bury(entry, "no_such_source")
    ((_, fields),) = queue.xrange(DEAD_STREAM)
    assert (fields[b"k"], fields[b"b"], fields[b"why"]) == (b"a", entry.body, b"no_such_source")
    assert await shard.depth() == Depth(length=0, lag=0, pending=0, buried=1)


async def test_trim_drops_what_is_settled_and_nothing_else(
    shard: Shard, append: Append, queue: Any
) -> None:
    append(*"abcde")
    entries = await read(shard, count=4)
    await shard.settle([entries[0].id, entries[1].id, entries[3].id])
    assert await shard.trim() == 2
    # c is pending; d is settled, but lies behind it; e was not delivered.
    assert [entry.key for entry in read_entries(queue)] == ["c", "d", "e"]
    await shard.settle([entries[2].id])
    assert await shard.trim() == 2
    assert [entry.key for entry in await read(shard)] == ["e"]


async def test_trim_keeps_everything_while_there_is_no_group(
    shard: Shard, append: Append, queue: Any
) -> None:
    append("a")
    queue.xgroup_destroy(STREAM, GROUP)
    assert await shard.trim() == 0
    queue.delete(STREAM)
    assert await shard.trim() == 0


async def test_trim_minds_every_group(shard: Shard, append: Append, queue: Any) -> None:
    append("a", "b")
    queue.xgroup_create(STREAM, "somebody else", id="0")
    await shard.settle([entry.id for entry in await read(shard)])
    assert await shard.trim() == 0


async def test_a_server_that_is_not_there_is_down(settings: Any) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere/valkey.sock"]
    (shard,) = get_shards()
    async with shard:
        with pytest.raises(QueueDown) as raised:
            await shard.read("one", 1, block_ms=10)
    assert raised.value.retry_after_s


@pytest.mark.parametrize("foreign", [{"foreign": "x"}, {"e": b"\xff", "s": "no number"}])
async def test_what_somebody_else_wrote_is_moved_aside_and_stops_nobody(
    shard: Shard, append: Append, queue: Any, foreign: dict[Any, Any]
) -> None:
    queue.xadd(STREAM, foreign)
    append("good")
    assert [entry.key for entry in await read(shard)] == ["good"]
    (_, fields), *rest = queue.xrange(DEAD_STREAM)
    assert fields[b"why"] == b"malformed"
    assert rest == []
    assert (await shard.depth()).pending == 1
