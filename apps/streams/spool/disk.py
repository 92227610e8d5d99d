"""This process's part of the disk: how much it may hold, whether it takes writes, its threads."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from apps.streams.errors import QueueError
from apps.streams.spool import metrics
from apps.streams.spool.folders import Folder

logger = logging.getLogger(__name__)

T = TypeVar("T")
THREADS = 4
# After a failed write nothing is tried for so long: a broken disk answers slowly.
RETRY_S = 1.0
# A refusal for want of room is shown for so long.
FULL_SHOWN_S = 10.0
LOG_INTERVAL_S = 60.0


class Disk:
    """Shared by the lanes of a process; all but `get_folder` is called in the event loop."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self.bytes = 0
        self._max_bytes = max_bytes
        self._folder: Folder | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="spool")
        self._failure = ""
        self._failed_at = self._full_at = self._logged_at = float("-inf")

    def open(self) -> None:
        """Make the folder now, so that an unusable disk shows before it is needed."""
        try:
            self.get_folder()
        except OSError as error:
            self.note_failure(error)

    def get_folder(self) -> Path:
        """Where this process writes; raises OSError. For threads too, one at a time."""
        if self._folder is None or not self._folder.path.is_dir():
            self._folder = Folder.create(self.root)
        return self._folder.path

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """The result of blocking `work`, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown()

    def give_up(self) -> None:
        """Let the next process have what is left."""
        if self._folder is not None:
            self._folder.release()

    def reserve(self, size: int, error: QueueError) -> None:
        """Make room for an event; raises a copy of `error` where there is none."""
        now = time.monotonic()
        if self.bytes + size > self._max_bytes:
            self._full_at = now
        elif now - self._failed_at >= RETRY_S:
            self.bytes += size
            return
        metrics.REFUSED.inc()
        raise error.__class__(str(error))

    def add(self, size: int) -> None:
        """Count what another process has left."""
        self.bytes += size

    def release(self, size: int) -> None:
        """Count what is not there any more."""
        self.bytes -= size

    def note_failure(self, error: OSError) -> None:
        """A write has failed: refuse for a while."""
        now = time.monotonic()
        word = errno.errorcode.get(error.errno or 0, error.__class__.__name__)
        self._failure = f"{os.strerror(error.errno)} ({word})" if error.errno else word
        self._failed_at = now
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            logger.error("The local spool in %s can't be written: %s", self.root, self._failure)

    def note_success(self) -> None:
        self._failure = ""

    def get_why(self) -> str:
        """Why it takes no events now, as a sentence; '' where it does."""
        if self._failure:
            return f"The local spool can't be written: {self._failure}."
        if time.monotonic() - self._full_at < FULL_SHOWN_S:
            return f"The local spool is full ({self._max_bytes:,} bytes)."
        return ""
