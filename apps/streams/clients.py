"""Connections for code that is not asynchronous: Celery tasks, pages, commands."""

from __future__ import annotations

from functools import lru_cache

import redis

TIMEOUT_S = 2.0


@lru_cache(maxsize=16)
def get_client(url: str) -> redis.Redis:
    """The client of this process for a server; its pool survives a fork and is thread-safe."""
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
