"""Events for the spool, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.streams.appender import Appenders
from apps.streams.clients import get_client
from apps.streams.spool.segments import DAMAGED, SUFFIX
from tests.fixtures.entries import read_entries


def event_id(key: bytes) -> bytes:
    return key.hex().rjust(32, "0").encode()


def append(
    appenders: Appenders, key: bytes, body: bytes = b"{}", own_id: bytes = b""
) -> asyncio.Future[bytes]:
    values = (own_id or event_id(key), b"1", key, b"", b"application/json", b"1700000000000", body)
    digest = b"%-8d" % hash(body)
    return appenders.append(b"shop", key, b"d:1:" + key, (*values, b"5", b"", digest))


async def append_all(appenders: Appenders, keys: list[bytes]) -> list[bytes]:
    return list(await asyncio.gather(*(append(appenders, key) for key in keys)))


def keys(prefix: str, count: int) -> list[bytes]:
    return [f"{prefix} {number}".encode() for number in range(count)]


def get_keys(url: str) -> list[bytes]:
    """The keys in the queue, in their order."""
    client: Any = get_client(url)
    return [entry.key.encode() for entry in read_entries(client)]


def is_direct(appenders: Appenders) -> bool:
    return not any(shard._is_closed for shard in appenders._shards)


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 10) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


def get_files(root: Path) -> list[Path]:
    return [path for path in root.rglob(f"*{SUFFIX}") if path.parent.name != DAMAGED]
