"""One file of the spool. All of it blocks: call it in a thread."""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from apps.streams.spool.records import KEY_BYTES, Found, read

# Another form of the records must have another suffix: what can't be read is taken for torn.
SUFFIX = ".spool"
CLOSED = -1
DAMAGED = "damaged"
"""Folder of SPOOL_DIR to which files with damage are moved after the rest of them was fed."""

_NAME = re.compile(r"(?P<lane>.+)\.(?P<number>\d+)\.(?P<key>[0-9a-f]{32})\.spool")


class Segment:
    """A file that grows at its end, is read from its start, and is deleted when all is fed.

    `end` is how far its records are on disk and acknowledged, `fed` how far they are in the queue,
    `unfed` how many are not. The key of its digests stands in its name, where no damage to its
    contents can spoil it.
    """

    def __init__(self, path: Path, lane: str, key: bytes, fd: int, end: int) -> None:
        self.path = path
        self.lane = lane
        self.key = key
        self._fd = fd
        self._tail = end
        self.end = end
        self.fed = self.loaded = 0
        self.unfed = 0
        self.damage = 0
        self.is_open = True

    @classmethod
    def create(cls, folder: Path, lane: str, number: int) -> Segment:
        """A new, empty file that survives a power cut; raises OSError."""
        key = secrets.token_bytes(KEY_BYTES)
        path = folder / f"{quote(lane, safe='')}.{number:08d}.{key.hex()}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            sync_folder(folder)
        except OSError:
            os.close(fd)
            raise
        return cls(path, lane, key, fd, 0)

    @classmethod
    def adopt(cls, path: Path) -> Segment:
        """A file that another process left; nothing is added to it any more. Raises OSError, or
        ValueError where the name is none of ours.
        """
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise ValueError("no name of a spool file")
        size = path.stat().st_size
        segment = cls(path, get_lane(path), bytes.fromhex(name["key"]), CLOSED, size)
        segment.is_open = False
        return segment

    def append(self, data: bytes) -> None:
        """Write and fsync; the records count from `publish` on. Raises OSError: then nothing of
        it is kept, and nothing is added to this file again, because after a failed fsync the
        kernel takes the lost pages for written.
        """
        try:
            _write_all(self._fd, data, self._tail)
            os.fdatasync(self._fd)
            if os.fstat(self._fd).st_nlink == 0:
                raise OSError(errno.ENOENT, "the spool file was deleted by somebody else")
        except OSError:
            self.is_open = False
            with suppress(OSError):
                os.ftruncate(self._fd, self._tail)
            raise
        self._tail += len(data)

    def publish(self, count: int) -> None:
        """The `count` records that were appended may be read."""
        self.end = self._tail
        self.unfed += count

    def load(self) -> list[Found]:
        """The records that are not fed yet; what of them can't be read counts as `damage`.

        Raises OSError.
        """
        start, end = self.fed, self.end
        contents = read(_read_all(self._reopen(), start, end), self.key, start)
        self.damage += contents.damage + end - contents.end
        self.loaded = end
        return contents.found

    def look_through(self) -> tuple[list[Found], int]:
        """For a file that another process left: its records, after what a power cut tore off the
        last one was cut off, and how many bytes that were. Raises OSError.
        """
        try:
            contents = read(_read_all(self._reopen(), 0, self.end), self.key)
            torn = self.end - contents.end
            if torn:
                os.ftruncate(self._fd, contents.end)
                os.fsync(self._fd)
        finally:
            self.close()  # there may be more of them than a process may have open
        self.end = contents.end
        self.unfed = len(contents.found)
        return contents.found, torn

    def remove(self) -> None:
        """Forget the file: all its records are in the queue."""
        self.close()
        self.path.unlink(missing_ok=True)

    def set_aside(self, root: Path) -> Path:
        """Keep a damaged file for a person to look at: where it is now. Raises OSError."""
        self.close()
        folder = root / DAMAGED
        folder.mkdir(mode=0o700, exist_ok=True)
        return self.path.rename(folder / self.path.name)

    def close(self) -> None:
        self.is_open = False
        if self._fd != CLOSED:
            os.close(self._fd)
            self._fd = CLOSED

    def _reopen(self) -> int:
        if self._fd == CLOSED:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._fd


def get_lane(path: Path) -> str:
    """The shard for which the events of a file were meant when they came."""
    return unquote(path.name.rsplit(".", 3)[0])


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(fd, left, at)
        left = left[written:]
        at += written


def _read_all(fd: int, start: int, end: int) -> bytes:
    pieces: list[bytes] = []
    while start < end and (piece := os.pread(fd, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)
