"""A folder for each process; whoever holds its lock owns what lies in it. All of it blocks."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from apps.streams.spool.segments import DAMAGED, SUFFIX, sync_folder

LOCK = "lock"
STATUS = "status.json"
NEW_STATUS = "status.json.new"


class Folder:
    """A folder of SPOOL_DIR, ours until `release`. The kernel releases it if we die."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> Folder:
        """A new, empty folder; raises OSError."""
        if not root.is_dir():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(root.parent)
        while True:
            name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
            path = root / name
            path.mkdir(mode=0o700)
            # Somebody who adopts may have been quicker: then it is his, and he will remove it.
            if (lock := _lock(path)) is not None:
                sync_folder(root)
                return cls(path, lock)

    def get_files(self) -> list[Path]:
        """Its spool files, oldest first."""
        return [path for path in _list(self.path) if path.suffix == SUFFIX]

    def release(self) -> None:
        """Give it up: empty, it goes; with files in it, the next process takes it over."""
        with suppress(OSError):
            if not self.get_files():
                for name in (STATUS, NEW_STATUS, LOCK):
                    (self.path / name).unlink(missing_ok=True)
                self.path.rmdir()
        os.close(self._lock)


def adopt_all(root: Path) -> list[Folder]:
    """The folders of processes that have died, now ours, the oldest first; empty ones go."""
    adopted: list[Folder] = []
    for path in _list(root):
        if path.name == DAMAGED or not path.is_dir() or (lock := _lock(path)) is None:
            continue
        folder = Folder(path, lock)
        if folder.get_files():
            with suppress(OSError):
                (path / STATUS).unlink(missing_ok=True)  # from now on it counts as ours
            adopted.append(folder)
        else:
            folder.release()
    return sorted(adopted, key=_get_age)


def _list(folder: Path) -> list[Path]:
    with suppress(OSError):  # not there yet, or unusable: `Disk` says so
        return sorted(folder.iterdir())
    return []


def _get_age(folder: Folder) -> float:
    """When its oldest file was last written."""
    with suppress(OSError):
        return min(path.stat().st_mtime for path in folder.get_files())
    return 0.0


def _lock(path: Path) -> int | None:
    """The lock of a folder, unless another process holds it or has just removed it."""
    name = path / LOCK
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(name)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None
