"""Ends a task for sure: one word is not always heard."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 1.0


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them until they have ended, however that was.

    Python 3.11's `asyncio.wait_for` drops a cancellation that comes just as what it waits for is
    done, and redis-py sends through it: a loop that listens would go on for ever.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=ASK_AGAIN_S)
        for task in waiting:
            logger.warning("The task %s has not ended; it is told again.", task.get_name())
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: the caller is ending, too
