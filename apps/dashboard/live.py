"""Tells the open pages what has changed: one small message, at most one a second per process."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time

from channels.layers import get_channel_layer

GROUP = "live"
TOPICS = frozenset({"figures", "events", "parts", "refused", "approvals"})
INTERVAL_S = 1.0
SEND_TIMEOUT_S = 5.0
logger = logging.getLogger(__name__)


class Announcer:
    """Collects topics and sends them from a thread of its own, so that no caller ever waits."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def announce(self, *topics: str) -> None:
        """Send soon that `topics` changed; what is announced meanwhile joins the next message."""
        with self._lock:
            self._pending.update(topics)
            # After a fork the parent's thread is not alive here: each process starts its own.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="announce", daemon=True)
                self._thread.start()
        self._wake.set()

    def _take(self) -> list[str]:
        with self._lock:
            taken, self._pending = sorted(self._pending), set()
        return taken

    def _run(self) -> None:
        # One loop for the thread's life: the channel layer keeps a connection per loop.
        with asyncio.Runner() as runner:
            while True:
                self._wake.wait()
                self._wake.clear()
                if topics := self._take():
                    runner.run(send(topics))
                    time.sleep(self._interval_s)


async def send(topics: list[str]) -> None:
    """Send one message now; a queue server that is down costs the message and nothing else."""
    message = {"type": "live.changed", "changed": topics}
    try:
        await asyncio.wait_for(get_channel_layer().group_send(GROUP, message), SEND_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - drivers differ; a page must never stop a worker
        logger.warning("The live pages were not told: %s", error.__class__.__name__)


_announcer = Announcer()


def announce(*topics: str) -> None:
    """Tell the open pages that `topics` (of TOPICS) changed. Never waits or raises."""
    _announcer.announce(*topics)


def _renew() -> None:
    global _announcer  # a fork may copy the parent's lock while it is held
    _announcer = Announcer()


os.register_at_fork(after_in_child=_renew)
