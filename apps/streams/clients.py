"""Connections for code that is not asynchronous: Celery tasks, pages, commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.streams.addresses import Address
from apps.streams.errors import QueueDown, QueueError

T = TypeVar("T")
TIMEOUT_S = 2.0
# A page or a probe that asks every shard must answer within 2 s, though one of them is frozen.
ASK_TIMEOUT_S = 1.0
# Finding the address of a host has no time limit of its own.
ASK_ALL_TIMEOUT_S = 1.2


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


def ask_all(addresses: Sequence[Address], ask: Callable[[Address], T]) -> list[T | QueueError]:
    """What `ask` answers or raises for each server, all asked at once: a frozen one delays the
    whole by ASK_ALL_TIMEOUT_S at most. `ask` may raise QueueError, and no other.
    """

    def answer(address: Address) -> T | QueueError:
        try:
            return ask(address)
        except QueueError as error:
            return error

    pool = ThreadPoolExecutor(max(1, len(addresses)), thread_name_prefix="ask-queue")
    asked = [pool.submit(answer, address) for address in addresses]
    wait(asked, ASK_ALL_TIMEOUT_S)
    pool.shutdown(wait=False, cancel_futures=True)
    late = QueueDown(f"The queue server does not answer within {ASK_ALL_TIMEOUT_S} s.")
    return [future.result() if future.done() else late for future in asked]
