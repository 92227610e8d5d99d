"""What can go wrong with the queue: the vendor's errors are translated here, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import redis.exceptions


class QueueError(Exception):
    """The queue can't do it now. The text is a sentence without anything of the event."""

    code: ClassVar[str] = "queue_error"
    permanent: ClassVar[bool] = False
    retry_after_s: ClassVar[float | None] = 5.0


class QueueDown(QueueError):
    """No answer: not reachable, too slow, or the connection broke. The outcome is unknown."""

    code = "queue_down"
    retry_after_s = 2.0


class QueueNotDurable(QueueError):
    """The server would acknowledge what is not on disk, so nothing is given to it."""

    code = "queue_not_durable"
    retry_after_s = 10.0


class QueueFull(QueueError):
    """The server takes no writes: its memory or its disk is full."""

    code = "queue_full"
    retry_after_s = 10.0


def translate(error: Exception) -> QueueError:
    """The queue's own error for one of redis-py, hiredis or the socket."""
    text = str(error)
    if text.startswith(("OOM", "MISCONF")) or isinstance(error, redis.exceptions.OutOfMemoryError):
        return QueueFull("The queue server takes no writes: its memory or its disk is full.")
    word = text.partition(" ")[0][:40] if text else ""
    reason = word if word.isupper() else type(error).__name__
    return QueueDown(f"The queue server does not answer ({reason}).")


@contextmanager
def translated() -> Iterator[None]:
    """Turns the vendor's errors into the queue's own."""
    try:
        yield
    except (redis.exceptions.RedisError, TimeoutError, OSError) as error:
        raise translate(error) from error
