"""Connections for code that is not asynchronous: Celery tasks, pages, commands."""

from __future__ import annotations

from functools import lru_cache

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_S = 2.0


@lru_cache(maxsize=64)
def get_client(url: str, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """The client of this process for a server; its pool survives a fork and is thread-safe.

    It tries once: redis-py's own retries would multiply the wait for a server that is frozen.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
