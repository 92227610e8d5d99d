"""How a worker process is told to stop, and tells that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from django.db import DatabaseError, close_old_connections

from apps.dashboard import heartbeats

logger = logging.getLogger(__name__)


def listen_for_stop() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def wait_for_stop(stop: asyncio.Event, timeout_s: float) -> bool:
    """Whether the stop came within this time."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout_s)
    return stop.is_set()


async def beat_until(stop: asyncio.Event, part: str) -> None:
    """Write a sign of life every few seconds; the figures show a part that has none."""
    while not stop.is_set():
        await asyncio.to_thread(_beat, part)
        await wait_for_stop(stop, heartbeats.INTERVAL_S)


def _beat(part: str) -> None:
    close_old_connections()
    try:
        heartbeats.beat(part)
    except DatabaseError as error:
        logger.warning("No sign of life of %s written: %s", part, type(error).__name__)
