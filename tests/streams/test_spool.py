"""While the queue takes nothing, the spool does; then the queue has each event once, in order."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.streams.appender import WAITING_MAX, Appenders
from apps.streams.clients import get_client
from apps.streams.entries import STREAM
from apps.streams.errors import QueueDown, QueueError, QueueFull
from apps.streams.spool.metrics import FED
from apps.streams.spool.segments import DAMAGED, SUFFIX
from apps.streams.spool.status import get_status
from pipeline_admin.env import BASE_DIR
from tests.fixtures.servers import Server

Own = Callable[[], Server]


def event_id(key: bytes) -> bytes:
    return key.hex().rjust(32, "0").encode()


def append(
    appenders: Appenders, key: bytes, body: bytes = b"{}", own_id: bytes = b""
) -> asyncio.Future[bytes]:
    values = (own_id or event_id(key), b"1", key, b"", b"application/json", b"1700000000000", body)
    digest = b"%-8d" % hash(body)
    return appenders.append(b"shop", key, b"d:1:" + key, (*values, b"5", b"", digest))


async def append_all(appenders: Appenders, keys: list[bytes]) -> list[bytes]:
    return list(await asyncio.gather(*(append(appenders, key) for key in keys)))


def keys(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix} {number}".encode() for number in range(count)]


def get_keys(url: str) -> list[bytes]:
    """The keys in the queue, in their order."""
    client: Any = get_client(url)
    return [fields[b"k"] for _, fields in client.xrange(STREAM)]


def is_direct(appenders: Appenders) -> bool:
    return not any(shard._is_closed for shard in appenders._shards)


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 10) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


def get_files(root: Path) -> list[Path]:
    return [path for path in root.rglob(f"*{SUFFIX}") if path.parent.name != DAMAGED]


@pytest.fixture
async def valkey(own_valkey: Own, settings: Any) -> AsyncIterator[Server]:
    valkey = own_valkey()
    settings.QUEUE_URLS = [valkey.address]
    yield valkey
    get_client(valkey.address).close()


@pytest.fixture
async def appenders(valkey: Server) -> AsyncIterator[Appenders]:
    appenders = Appenders()
    appenders.start()
    await until(lambda: is_direct(appenders), "the direct way")
    yield appenders
    await appenders.stop()


@pytest.fixture
async def cut_off(valkey: Server) -> Appenders:
    """Appenders whose server is dead; they are stopped by the test."""
    valkey.kill()
    appenders = Appenders()
    appenders.start()
    return appenders


# --- Taking in, feeding ---------------------------------------------------------------------------


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


# --- Full and broken disks ------------------------------------------------------------------------


async def test_a_full_spool_says_what_the_queue_says_until_there_is_room(
    valkey: Server, settings: Any
) -> None:
    valkey.kill()
    settings.SPOOL_MAX_BYTES = 100_000
    appenders = Appenders()
    appenders.start()
    taken: list[bytes] = []
    with pytest.raises(QueueDown):
        await append_until_refused(appenders, taken)
    assert 80 < len(taken) < 95
    await until(lambda: (status := get_status()) and not status.takes, "the status")
    valkey.start()
    await until(lambda: is_direct(appenders), "the direct way")
    assert await append(appenders, b"after", b"x" * 1000) == b""
    assert get_keys(valkey.address) == [*taken, b"after"]
    await appenders.stop()


async def append_until_refused(appenders: Appenders, taken: list[bytes]) -> None:
    for number in range(1000):
        key = b"key %d" % number
        await append(appenders, key, b"x" * 1000)
        taken.append(key)


@contextmanager
def small_files_only(limit: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_is_full_loses_nothing_that_was_acknowledged(
    valkey: Server, cut_off: Appenders, spool_dir: Path
) -> None:
    body = b"x" * 3_000_000
    taken = [b"small"]
    await append(cut_off, b"small")
    with small_files_only(2_000_000):
        refused = append(cut_off, b"large", body)
        with pytest.raises(QueueDown):
            await refused
        with pytest.raises(QueueDown):  # for a second it is not even tried
            append(cut_off, b"at once")
        [path] = get_files(spool_dir)
        assert path.stat().st_size < 1000  # cut back
    await until(lambda: takes(cut_off, taken), "room")
    valkey.start()
    await until(lambda: is_direct(cut_off), "the direct way")
    assert get_keys(valkey.address) == taken
    await cut_off.stop()


def takes(appenders: Appenders, taken: list[bytes]) -> bool:
    try:
        append(appenders, b"again")
    except QueueError:
        return False
    taken.append(b"again")
    return True


async def test_a_failed_fsync_is_no_acknowledgement(
    valkey: Server, cut_off: Appenders, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(cut_off, b"before")

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        twice = [append(cut_off, b"lost"), append(cut_off, b"lost")]
        for answer in twice:
            with pytest.raises(QueueDown):
                await answer
    taken = [b"before"]
    await until(lambda: takes(cut_off, taken), "another try")
    valkey.start()
    await until(lambda: is_direct(cut_off), "the direct way")
    assert get_keys(valkey.address) == taken
    assert await append(cut_off, b"lost") == b""
    await cut_off.stop()


async def test_a_duplicate_is_not_told_the_id_of_an_event_that_was_lost(
    cut_off: Appenders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        time.sleep(0.3)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        first = append(cut_off, b"a")
        await asyncio.sleep(0.1)  # it is being written: the duplicate goes with the next group
        second = append(cut_off, b"a", own_id=b"f" * 32)
        for answer in (first, second):
            with pytest.raises(QueueDown):
                await answer
    await cut_off.stop()


async def test_a_disk_that_hangs_is_answered_within_two_seconds(
    valkey: Server, cut_off: Appenders, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync

    def hang(fd: int) -> None:
        time.sleep(2.5)
        real(fd)

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", hang)
        in_write = append(cut_off, b"in write")
        await asyncio.sleep(0.05)
        behind = append(cut_off, b"behind")
        for answer in (in_write, behind):
            with pytest.raises(QueueDown):
                await answer
    assert time.monotonic() - began < 2
    # The first was written in the end: its sender's repeat is a duplicate. The second never was.
    await until(lambda: get_status() and str(get_status()), "the end of the write")
    assert await append(cut_off, b"behind", own_id=b"f" * 32) == b""
    assert await append(cut_off, b"in write", own_id=b"f" * 32) == event_id(b"in write")
    valkey.start()
    await until(lambda: is_direct(cut_off), "the direct way")
    assert get_keys(valkey.address) == [b"in write", b"behind"]
    await cut_off.stop()


async def test_a_folder_that_cannot_be_made_is_the_queues_refusal(
    valkey: Server, settings: Any, tmp_path: Path
) -> None:
    valkey.kill()
    (tmp_path / "file").touch()
    settings.SPOOL_DIR = tmp_path / "file" / "spool"
    appenders = Appenders()
    appenders.start()
    with pytest.raises(QueueDown):
        await append(appenders, b"a")
    await appenders.stop()


# --- What is left behind --------------------------------------------------------------------------


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
from tests.streams.test_spool import append, keys

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
