"""How much waits: what is not settled counts, and unknown is never 0."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from apps.streams.depth import get_depths, parse_depth
from apps.streams.entries import STREAM, Depth, ShardDepth
from apps.streams.shard import Shard
from tests.fixtures.servers import Server
from tests.streams.conftest import NAME, Append
from tests.waiting import wait_until


async def test_length_counts_what_is_not_settled(shard: Shard, append: Append) -> None:
    append(*"abcde")
    entries = await shard.read("one", 3, block_ms=10)
    await shard.settle([entries[0].id])
    expected = Depth(length=4, lag=2, pending=2, buried=0)
    assert await shard.depth() == expected
    assert get_depths() == [ShardDepth(NAME, expected)]


@pytest.mark.usefixtures("queue")
def test_an_unused_queue_is_empty() -> None:
    assert get_depths() == [ShardDepth(NAME, Depth(length=0, lag=0, pending=0, buried=0))]


@pytest.mark.usefixtures("queue")
def test_without_a_group_everything_lags(append: Append) -> None:
    append("a", "b")
    assert get_depths() == [ShardDepth(NAME, Depth(length=2, lag=2, pending=0, buried=0))]


async def test_lag_is_unknown_where_the_server_cannot_tell(
    shard: Shard, append: Append, queue: Any
) -> None:
    append(*"abc")
    entry_ids = [entry_id for entry_id, _ in queue.xrange(STREAM)]
    queue.xdel(STREAM, entry_ids[1])
    assert await shard.depth() == Depth(length=2, lag=None, pending=0, buried=0)


def test_the_answer_of_a_server_with_texts_instead_of_bytes_is_read_too() -> None:
    group = {"name": "dispatcher", "pending": 1, "lag": 2}
    assert parse_depth(length=9, buried=0, groups=[group]).length == 3


def test_a_server_that_is_down_is_unknown_with_its_reason(settings: Any) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere/valkey.sock"]
    (shard,) = get_depths()
    assert shard.depth is None
    assert "does not answer" in shard.why


def test_a_frozen_server_lets_nobody_wait_twice_in_a_second_and_is_found_again(
    own_server: Callable[[], Server], settings: Any
) -> None:
    server = own_server()
    settings.QUEUE_URLS = [server.address]
    os.kill(server.process.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    assert [get_depths()[0].depth, get_depths()[0].depth] == [None, None]
    assert time.monotonic() - began_s < 1.5
    os.kill(server.process.pid, signal.SIGCONT)
    wait_until(lambda: get_depths()[0].depth is not None, 5, "the server's answer")
