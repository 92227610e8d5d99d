"""What a process leaves in the spool, stopped or killed, is fed by the next, once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.streams.appender import Appenders
from apps.streams.clients import get_client
from apps.streams.errors import QueueFull
from apps.streams.spool.metrics import FED
from apps.streams.spool.segments import DAMAGED
from apps.streams.spool.status import get_status
from pipeline_admin.env import BASE_DIR
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


async def test_what_waits_at_the_stop_is_fed_after_the_next_start(
    valkey: Server, cut_off: Appenders, spool_dir: Path
) -> None:
    await append_all(cut_off, keys("a", 300))
    await cut_off.stop()
    assert len(get_files(spool_dir)) == 1
    status = get_status()
    assert status is not None
    assert status.events == 300

    again = Appenders()
    again.start()
    sent = keys("a", 300) + keys("b", 3)
    await append_all(again, keys("b", 3))  # behind, although nothing was fed or even read yet
    assert await append(again, b"b 0", own_id=b"f" * 32) == event_id(b"b 0")
    valkey.start()
    await until(lambda: is_direct(again), "the direct way")
    assert get_keys(valkey.address) == sent
    await again.stop()
    assert list(spool_dir.iterdir()) == []


async def test_at_the_start_new_events_wait_for_those_left_behind_to_be_read(
    valkey: Server, cut_off: Appenders
) -> None:
    left = keys("left", 30_000)
    for start in range(0, len(left), 5000):
        await append_all(cut_off, left[start : start + 5000])
    await cut_off.stop()
    valkey.start()
    again = Appenders()
    again.start()
    new: list[bytes] = []
    while not new or not is_direct(again):
        new.append(b"new %d" % len(new))
        await append(again, new[-1])
    assert get_keys(valkey.address) == left + new
    await again.stop()


CHILD = """
import asyncio, sys
import django
django.setup()
from apps.streams.appender import Appenders
from tests.streams.spool.events import append, keys

async def main():
    appenders = Appenders()
    appenders.start()
    for key in keys(sys.argv[1], 200):
        await append(appenders, key)
    print("acknowledged", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def spool_and_die(name: str, spool_dir: Path, url: str = "unix:///nowhere.sock") -> None:
    """A process that acknowledges 200 events while the queue is down, and is killed."""
    environ = os.environ | {
        "SPOOL_DIR": str(spool_dir),
        "PYTHONPATH": str(BASE_DIR),
        "QUEUE_URL": url,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, name], stdout=subprocess.PIPE, env=environ
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"acknowledged\n"
    child.kill()
    child.wait()
    child.stdout.close()


async def test_what_a_killed_process_left_is_adopted_once(valkey: Server, spool_dir: Path) -> None:
    both = [Appenders(), Appenders()]
    fed = FED._value.get()
    for appenders in both:
        appenders.start()
    await until(lambda: all(is_direct(each) for each in both), "the direct way")
    await asyncio.to_thread(spool_and_die, "left", spool_dir)
    await until(lambda: FED._value.get() - fed == 200, "the adoption")
    await until(lambda: not get_files(spool_dir), "an empty spool")
    assert get_keys(valkey.address) == keys("left", 200)
    for appenders in both:
        await appenders.stop()
    assert FED._value.get() - fed == 200
    assert list(spool_dir.iterdir()) == []


async def test_what_is_adopted_goes_before_what_waits_already(
    valkey: Server, cut_off: Appenders, spool_dir: Path
) -> None:
    await append_all(cut_off, keys("own", 300))
    feeder: Any = cut_off._shards[0]._spool
    await until(lambda: feeder._loaded, "the first try to feed them")
    await asyncio.to_thread(spool_and_die, "left", spool_dir, valkey.address)
    await until(lambda: feeder.lane.waiting == 500, "the adoption")
    await append_all(cut_off, keys("later", 3))
    valkey.start()
    await until(lambda: is_direct(cut_off), "the direct way")
    assert get_keys(valkey.address) == keys("left", 200) + keys("own", 300) + keys("later", 3)
    await cut_off.stop()


async def test_fed_again_after_a_crash_it_is_still_each_event_once(
    valkey: Server, cut_off: Appenders, spool_dir: Path, tmp_path: Path
) -> None:
    await append_all(cut_off, keys("a", 300))
    await cut_off.stop()
    [path] = get_files(spool_dir)
    copy = path.read_bytes()
    valkey.start()
    for _ in range(2):
        again = Appenders()
        again.start()
        await until(lambda: len(get_keys(valkey.address)) >= 300, "the events")
        await until(lambda: is_direct(again), "the direct way")  # noqa: B023
        await again.stop()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(copy)  # as if the deletion had been lost in a power cut
    assert get_keys(valkey.address) == keys("a", 300)


async def test_the_torn_end_of_a_killed_process_is_never_delivered(
    valkey: Server, cut_off: Appenders, spool_dir: Path
) -> None:
    await append_all(cut_off, keys("a", 3))
    await cut_off.stop()
    [path] = get_files(spool_dir)
    path.write_bytes(path.read_bytes()[:-1])
    valkey.start()
    again = Appenders()
    again.start()
    await until(lambda: is_direct(again), "the direct way")
    assert get_keys(valkey.address) == keys("a", 2)
    await again.stop()
    assert list(spool_dir.iterdir()) == []


async def test_a_damaged_file_is_kept_aside_and_the_rest_of_it_fed(
    valkey: Server, cut_off: Appenders, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_all(cut_off, keys("a", 5))
    await cut_off.stop()
    [path] = get_files(spool_dir)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    valkey.start()
    again = Appenders()
    again.start()
    await until(lambda: is_direct(again), "the direct way")
    assert get_keys(valkey.address) == [b"a 0", b"a 1", b"a 3", b"a 4"]
    assert (spool_dir / DAMAGED / path.name).read_bytes() == bytes(data)
    assert "is damaged" in caplog.text
    await again.stop()


async def test_a_file_that_somebody_takes_away_holds_nothing_up(
    valkey: Server, cut_off: Appenders, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_all(cut_off, keys("a", 5))
    await cut_off.stop()
    again = Appenders()
    again.start()
    await append_all(again, keys("b", 5))
    feeder: Any = again._shards[0]._spool
    await until(lambda: feeder.lane.waiting == 10, "the adoption")
    feeder.lane.segments[0].path.unlink()
    feeder._loaded.clear()
    feeder._segment = None
    feeder.lane.segments[0].close()
    valkey.start()
    await until(lambda: is_direct(again), "the direct way")
    assert get_keys(valkey.address) == keys("b", 5)
    assert "about 5 events, can't be read" in caplog.text
    await again.stop()


async def test_events_go_to_the_shards_of_their_feeding(
    own_valkey: Own, valkey: Server, cut_off: Appenders, settings: Any, spool_dir: Path
) -> None:
    await append_all(cut_off, keys("a", 300))
    await cut_off.stop()
    servers = [own_valkey(), own_valkey()]
    settings.QUEUE_URLS = [server.address for server in servers]
    again = Appenders()
    again.start()
    await until(lambda: is_direct(again) and not get_files(spool_dir), "the feeding")
    assert await append_all(again, keys("a", 300)) == [event_id(key) for key in keys("a", 300)]
    found = [get_keys(server.address) for server in servers]
    assert min(map(len, found)) > 50
    assert sorted(found[0] + found[1]) == sorted(keys("a", 300))
    await again.stop()


async def test_the_status_is_json_without_anything_of_the_events(
    cut_off: Appenders, spool_dir: Path
) -> None:
    await append(cut_off, b"secret-key", b'{"secret": "body"}')
    await until(lambda: str(get_status()).startswith("1 "), "the status")
    [path] = spool_dir.glob("*/status.json")
    assert json.loads(path.read_text()) == {"events": 1, "why": ""}
    assert str(get_status()) == "1 event waits in the local spool."
    await cut_off.stop()


async def test_behind_a_spool_that_is_full_the_queues_error_says_so(
    valkey: Server, appenders: Appenders
) -> None:
    get_client(valkey.address).config_set("maxmemory", "1")
    await append(appenders, b"a")
    appenders._spool._disk._max_bytes = 0  # type: ignore[union-attr]
    with pytest.raises(QueueFull):
        await append(appenders, b"b")
    get_client(valkey.address).config_set("maxmemory", "0")
    await until(lambda: is_direct(appenders), "the direct way")
    assert await append(appenders, b"b") == b""
