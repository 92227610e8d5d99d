"""While the queue takes nothing, the spool does; then the queue has each event once, in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.streams.appender import WAITING_MAX, Appenders
from tests.fixtures.servers import Server
from tests.streams.spool.events import (
    append,
    append_all,
    event_id,
    get_files,
    get_keys,
    is_direct,
    keys,
    until,
)

Own = Callable[[], Server]


async def test_what_comes_meanwhile_is_fed_in_order_and_once(
    valkey: Server, appenders: Appenders, spool_dir: Path
) -> None:
    sent = keys("before", 3)
    assert await append_all(appenders, sent) == [b""] * 3
    valkey.kill()
    for name, count in (("a", 1), ("b", 700), ("c", 1)):
        sent += keys(name, count)
        assert await append_all(appenders, keys(name, count)) == [b""] * count
    assert len(get_files(spool_dir)) == 1
    valkey.start()
    await until(lambda: is_direct(appenders), "the direct way")
    assert await append_all(appenders, keys("after", 3)) == [b""] * 3
    assert get_keys(valkey.address) == sent + keys("after", 3)
    assert get_files(spool_dir) == []


async def test_new_events_go_behind_those_that_wait(valkey: Server, appenders: Appenders) -> None:
    os.kill(valkey.process.pid, signal.SIGSTOP)
    sent = keys("first", 2000)
    await append_all(appenders, sent)
    os.kill(valkey.process.pid, signal.SIGCONT)
    while not is_direct(appenders):
        key = b"late %d" % len(sent)
        sent.append(key)
        assert await append(appenders, key) == b""
    assert get_keys(valkey.address) == sent


async def test_the_spool_runs_empty_while_as_many_come_as_can(
    valkey: Server, appenders: Appenders
) -> None:
    valkey.kill()
    sent: list[bytes] = []
    is_over = False

    async def send(line: int) -> None:
        number = 0
        while not is_over:
            key = b"line %d event %d" % (line, number)
            number += 1
            sent.append(key)
            assert await append(appenders, key) == b""

    async with asyncio.TaskGroup() as group:
        for line in range(64):
            group.create_task(send(line))
        await until(lambda: len(sent) > 3000, "a backlog")
        valkey.start()
        await until(lambda: is_direct(appenders), "the direct way", 20)
        is_over = True
    assert get_keys(valkey.address) == sent


async def test_what_the_queue_may_have_is_fed_under_its_own_id(
    valkey: Server, appenders: Appenders, settings: Any
) -> None:
    settings.INGEST_TIMEOUT_S = 0.3
    os.kill(valkey.process.pid, signal.SIGSTOP)
    assert await append_all(appenders, keys("a", 100)) == [b""] * 100
    # It finds the first try in its socket, and then the second in the spool.
    os.kill(valkey.process.pid, signal.SIGCONT)
    await until(lambda: is_direct(appenders), "the direct way")
    assert get_keys(valkey.address) == keys("a", 100)
    assert await append(appenders, b"a 7", own_id=b"f" * 32) == event_id(b"a 7")


async def test_too_many_for_the_queue_are_taken_by_the_spool(
    valkey: Server, appenders: Appenders
) -> None:
    sent = keys("many", WAITING_MAX + 50)
    assert await append_all(appenders, sent) == [b""] * len(sent)
    await until(lambda: is_direct(appenders), "the direct way")
    assert get_keys(valkey.address) == sent


async def test_other_shards_are_not_affected(
    own_valkey: Own, settings: Any, spool_dir: Path
) -> None:
    servers = [own_valkey(), own_valkey()]
    settings.QUEUE_URLS = [server.address for server in servers]
    appenders = Appenders()
    appenders.start()
    await until(lambda: is_direct(appenders), "the direct way")
    servers[0].kill()
    assert await append_all(appenders, keys("a", 100)) == [b""] * 100
    waiting = 100 - len(get_keys(servers[1].address))
    assert 20 < waiting < 80
    assert [shard._is_closed for shard in appenders._shards] == [True, False]
    servers[0].start()
    await until(lambda: is_direct(appenders), "the direct way")
    assert len(get_keys(servers[0].address)) == waiting
    await appenders.stop()


# --- Duplicates -----------------------------------------------------------------------------------


async def test_a_duplicate_of_what_waits_is_told_the_first_id(cut_off: Appenders) -> None:
    first, same_time = append(cut_off, b"a"), append(cut_off, b"a", own_id=b"e" * 32)
    assert await first == b""
    assert await same_time == event_id(b"a")
    assert await append(cut_off, b"a", own_id=b"f" * 32) == event_id(b"a")
    await cut_off.stop()


async def test_another_body_under_the_same_key_is_kept_and_is_a_duplicate(
    valkey: Server, cut_off: Appenders
) -> None:
    assert await append(cut_off, b"a") == b""
    assert await append(cut_off, b"a", b'{"other": 1}', own_id=b"f" * 32) == event_id(b"a")
    valkey.start()
    await until(lambda: is_direct(cut_off), "the direct way")
    assert get_keys(valkey.address) == [b"a", b"a"]  # for the database to keep as a conflict
    await cut_off.stop()


async def test_a_duplicate_of_what_the_queue_had_is_found_when_it_is_fed(
    valkey: Server, appenders: Appenders
) -> None:
    await append(appenders, b"a")
    valkey.kill()
    assert await append(appenders, b"a", own_id=b"f" * 32) == b""
    valkey.start()
    await until(lambda: is_direct(appenders), "the direct way")
    # Its sender was told an id of its own: the database must hear of both.
    assert get_keys(valkey.address) == [b"a", b"a"]
