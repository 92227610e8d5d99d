"""A rate that all processes share."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from apps.streams import limits as limits_module
from apps.streams.clients import get_client
from apps.streams.limits import Ask, Limits, OwnBuckets, Rate
from tests.fixtures.servers import Server

SLOW = Rate(per_minute=1, burst=3)


@pytest.fixture
async def limits(queue: Any, settings: Any) -> AsyncIterator[Limits]:
    limits = Limits(settings.QUEUE_URLS[0])
    yield limits
    await limits.stop()


async def test_a_burst_passes_and_the_next_is_told_how_long_to_wait(limits: Limits) -> None:
    assert [await limits.take(Ask("a", SLOW)) for _ in range(3)] == [0, 0, 0]
    assert 50 < await limits.take(Ask("a", SLOW)) <= 60


async def test_after_that_wait_one_passes_and_only_one(limits: Limits) -> None:
    rate = Rate(per_minute=120, burst=1)
    assert await limits.take(Ask("a", rate)) == 0
    wait_s = await limits.take(Ask("a", rate))
    assert 0 < wait_s <= 0.5
    await asyncio.sleep(wait_s)
    assert await limits.take(Ask("a", rate)) == 0
    assert await limits.take(Ask("a", rate)) > 0


async def test_each_key_has_its_own_bucket(limits: Limits) -> None:
    rate = Rate(per_minute=1, burst=1)
    assert await limits.take(Ask("a", rate)) == 0
    assert await limits.take(Ask("b", rate)) == 0


async def test_where_one_of_two_is_empty_none_is_taken_from(limits: Limits) -> None:
    one, two = Rate(per_minute=1, burst=1), Rate(per_minute=1, burst=2)
    assert await limits.take(Ask("one", one), Ask("two", two)) == 0
    for _ in range(5):
        assert await limits.take(Ask("one", one), Ask("two", two)) > 0
    assert await limits.take(Ask("two", two)) == 0


async def test_a_cost_counts_as_many(limits: Limits) -> None:
    rate = Rate(per_minute=1, burst=10)
    assert await limits.take(Ask("a", rate, cost=8)) == 0
    assert await limits.take(Ask("a", rate, cost=3)) > 0
    assert await limits.take(Ask("a", rate, cost=2)) == 0


async def test_two_processes_share_one_limit(limits: Limits, settings: Any) -> None:
    other = Limits(settings.QUEUE_URLS[0])
    passed = [await each.take(Ask("a", SLOW)) for each in (limits, other, limits, other, other)]
    assert [wait_s == 0 for wait_s in passed] == [True, True, True, False, False]
    await other.stop()


async def test_many_at_once_get_exactly_the_burst(limits: Limits) -> None:
    waits = await asyncio.gather(
        *(limits.take(Ask("a", Rate(per_minute=1, burst=7))) for _ in range(50))
    )
    assert waits.count(0) == 7


async def test_a_refusal_writes_nothing_and_keys_expire(limits: Limits, queue: Any) -> None:
    rate = Rate(per_minute=60, burst=1)
    await limits.take(Ask("a", rate))
    before = queue.get("pipeline:limit:a")
    await limits.take(Ask("a", rate))
    assert queue.get("pipeline:limit:a") == before
    assert 0 < queue.pttl("pipeline:limit:a") <= 1000


async def test_a_bucket_of_a_clock_that_went_back_is_at_most_empty(
    limits: Limits, queue: Any
) -> None:
    in_an_hour = int((time.time() + 3600) * 1_000_000)
    queue.set("pipeline:limit:a", in_an_hour)
    assert await limits.take(Ask("a", Rate(per_minute=60, burst=2))) <= 1


async def test_the_script_is_known_again_after_a_restart(limits: Limits, queue: Any) -> None:
    await limits.take(Ask("a", SLOW))
    queue.script_flush()
    await limits.take(Ask("a", SLOW))
    assert await limits.take(Ask("a", SLOW)) == 0
    assert await limits.take(Ask("a", SLOW)) > 0


async def test_without_a_server_each_process_counts_for_itself() -> None:
    limits, other = Limits("unix:///nowhere.sock"), Limits("unix:///nowhere.sock")
    assert [await limits.take(Ask("a", SLOW)) == 0 for _ in range(4)] == [True] * 3 + [False]
    assert await other.take(Ask("a", SLOW)) == 0


async def test_a_server_that_hangs_delays_nobody_for_long_and_is_used_again(
    own_server: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server()
    monkeypatch.setattr(limits_module, "RECONNECT_S", 0.0)
    limits, other = Limits(server.address), Limits(server.address)
    rate = Rate(per_minute=1, burst=1)
    assert await limits.take(Ask("a", rate)) == 0
    os.kill(server.process.pid, signal.SIGSTOP)
    assert await limits.take(Ask("a", rate)) == 0  # by this process's own count
    assert await limits.take(Ask("a", rate)) > 0
    os.kill(server.process.pid, signal.SIGCONT)
    assert await limits.take(Ask("b", rate)) == 0
    assert await other.take(Ask("b", rate)) > 0
    await asyncio.gather(limits.stop(), other.stop())


async def test_a_server_that_is_down_is_not_asked_again_at_once(
    own_server: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server()
    monkeypatch.setattr(limits_module, "RECONNECT_S", 60.0)
    limits = Limits(server.address)
    server.kill()
    assert await limits.take(Ask("a", SLOW)) == 0
    server.start()
    assert await limits.take(Ask("a", SLOW)) == 0
    assert get_client(server.address).get("pipeline:limit:a") is None


def test_the_own_count_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MAX_LOCAL_KEYS", 10)
    buckets = OwnBuckets()
    for number in range(100):
        assert buckets.take((Ask(str(number), SLOW),)) == 0
    assert len(buckets._full_at) <= 11
