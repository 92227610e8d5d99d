"""A disk that is full, broken or slow: nothing acknowledged is lost, and no sender waits."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.streams.appender import Appenders
from apps.streams.errors import QueueDown, QueueError
from apps.streams.spool.status import get_status
from tests.fixtures.servers import Server
from tests.streams.spool.events import (
    append,
    event_id,
    get_files,
    get_keys,
    is_direct,
    until,
)


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
