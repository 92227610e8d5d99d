"""The harness itself: what was synced survives a cut of power, and what was not is gone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.power.disk import Disk

PRELUDE = """
import os
def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
def write(path, text, synced=False):
    with open(path, "a") as file:
        file.write(text)
    if synced:
        sync(path)
"""
Run = Callable[[str], None]


class Merciless(random.Random):
    """The cut takes all that it may take."""

    calls = 0

    def random(self) -> float:
        """Folders are reverted, no unsynced byte is left."""
        self.calls += 1
        return 0.0 if self.calls == 1 else 1.0


class Mild(random.Random):
    """Entries of folders stay, and so does some of what was not synced."""

    def random(self) -> float:
        return 1.0 if not self.is_asked_for_bytes() else 0.0

    def is_asked_for_bytes(self) -> bool:
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls > 1


@pytest.fixture
def disk(tmp_path: Path, unsynced_library: Path) -> Disk:
    return Disk(tmp_path / "data", tmp_path / "notes", unsynced_library)


@pytest.fixture
def run(disk: Disk) -> Run:
    """Runs Python in the folder, its fsyncs watched."""

    def run(code: str) -> None:
        command = [sys.executable, "-c", PRELUDE + code]
        subprocess.run(command, cwd=disk.folder, env=os.environ | disk.environ, check=True)

    return run


def read(disk: Disk) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(disk.folder.iterdir())}


def test_bytes_behind_the_last_fsync_are_gone(disk: Disk, run: Run) -> None:
    run("write('a', 'on disk', True); write('a', ' and not'); write('b', 'never'); sync('.')")
    cut = disk.cut(Merciless())
    assert read(disk) == {"a": "on disk", "b": ""}
    assert cut.bytes_lost == len(" and not" + "never")


def test_some_of_them_may_be_left(disk: Disk, run: Run) -> None:
    run("write('a', 'on disk', True); write('a', '0123456789')")
    cut = disk.cut(Mild(1))
    assert read(disk)["a"].startswith("on disk")
    assert 0 < cut.bytes_lost <= 10
    assert cut.bytes_lost + cut.bytes_torn == 10


def test_a_file_whose_folder_was_not_synced_is_gone(disk: Disk, run: Run) -> None:
    run("write('a', 'one', True); sync('.'); write('b', 'two', True)")
    assert disk.cut(Merciless()).folders_reverted == 1
    assert read(disk) == {"a": "one"}


def test_a_rename_and_a_deletion_are_undone_unless_the_folder_was_synced(
    disk: Disk, run: Run
) -> None:
    change = "write('new', 'new', True); os.replace('new', 'a'); os.unlink('b');"
    run("write('a', 'old', True); write('b', 'kept', True); sync('.')")
    run(change)
    disk.cut(Merciless())
    assert read(disk) == {"a": "old", "b": "kept"}
    run(change + "sync('.')")
    disk.cut(Merciless())
    assert read(disk) == {"a": "new"}


def test_what_was_there_before_the_power_came_back_stays(disk: Disk, run: Run) -> None:
    run("write('a', 'one', True); sync('.')")
    disk.cut(Merciless())
    assert disk.cut(Merciless()).bytes_lost == 0
    assert read(disk) == {"a": "one"}


def test_a_file_that_was_cut_and_grew_again_counts_anew(disk: Disk, run: Run) -> None:
    run("write('a', '0123456789', True); sync('.')")
    run("fd = os.open('a', os.O_RDWR); os.ftruncate(fd, 2); os.close(fd); write('a', 'unsynced')")
    disk.cut(Merciless())
    assert read(disk) == {"a": "01"}
    run("os.truncate('a', 1); write('a', 'unsynced')")
    disk.cut(Merciless())
    assert read(disk) == {"a": "0"}
