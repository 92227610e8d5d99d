"""A shard on a shared Valkey 9.1 and on a shared Redis 7.0, emptied, and a way to fill it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from apps.streams import scripts
from apps.streams.clients import get_client
from apps.streams.entries import STREAM, Values, pack
from apps.streams.shard import Shard, get_shards
from tests.fixtures.servers import Server

Append = Callable[..., list[bytes]]
NAME = "queue-1"


@pytest.fixture(params=["valkey", "redis"])
def queue(request: pytest.FixtureRequest, settings: Any) -> Any:
    """The server behind the shard, as a plain client."""
    url = request.getfixturevalue(f"{request.param}_url")
    settings.QUEUE_URLS = [f"{url}#{NAME}"]
    client: Any = get_client(url)
    client.flushall()
    return client


@pytest.fixture(params=["valkey", "redis"])
def own_server(request: pytest.FixtureRequest) -> Callable[[], Server]:
    """Starts a server that the test may kill."""
    start: Callable[[], Server] = request.getfixturevalue(f"own_{request.param}")
    return start


@pytest.fixture
async def shard(queue: Any) -> AsyncIterator[Shard]:
    (shard,) = get_shards()
    await shard.ensure_group()
    yield shard
    await shard.close()


@pytest.fixture
def append(queue: Any) -> Append:
    def append(*keys: str, body: bytes = b'{"n": 1}') -> list[bytes]:
        events: list[bytes] = []
        for number, key in enumerate(keys):
            values: Values = (
                *(b"%032x" % number, b"7", key.encode(), b"ticket", b"application/json"),
                *(b"1700000000000", body, b"5", b"not as the schema asks", body),
            )
            events += (values[0] + body, pack(values))
        dedup_keys = [f"d:7:{key}" for key in keys]
        answer: list[bytes] = queue.eval(
            scripts.APPEND, len(keys) + 1, STREAM, *dedup_keys, 60, *events
        )
        return answer

    return append
