"""The queue server of docker-compose.yml is durable, and what it buried comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from apps.streams import durability
from apps.streams.buried import unbury
from apps.streams.entries import DEAD_STREAM, STREAM, Entry
from apps.streams.shard import Shard
from pipeline_admin.bootstrap import locations
from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.readiness import valkey_answers
from tests.fixtures.servers import Server
from tests.ops.compose import SERVICES, VARIABLE


@pytest.fixture
def compose_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a real server with the flags of the compose file, but for its password."""
    flags = [VARIABLE.sub(lambda m: m["rest"], word) for word in SERVICES["queue"]["command"][1:]]
    password = flags.index("--requirepass")
    del flags[password : password + 2]
    socket = tmp_path / "queue.sock"
    command = (str(locations.valkey_binary()), *flags, "--port", "0", "--unixsocket", str(socket))
    part = Part("queue", command, is_ready=lambda: valkey_answers(socket), cwd=tmp_path)
    server = Server(part, tmp_path / "queue.log", f"unix://{socket}")
    monkeypatch.setattr(settings, "QUEUE_URLS", [server.address])
    yield server.address
    server.kill()


def test_its_flags_are_all_that_ingest_demands(compose_queue: str) -> None:
    [answer] = durability.get_durability()
    assert (answer.ok, answer.why) == (True, "")


def test_a_buried_entry_is_given_to_the_dispatcher_again(compose_queue: str) -> None:
    client = redis.Redis.from_url(compose_queue)
    names = "esktcrb"
    fields: dict[Any, Any] = {name: f"value of {name}" for name in names} | {"s": "7", "r": "1"}
    client.xadd(STREAM, fields)
    buried = asyncio.run(bury_first(compose_queue))
    assert client.xlen(DEAD_STREAM) == 1

    assert unbury().given == 1

    assert client.xlen(DEAD_STREAM) == 0
    again = asyncio.run(read_one(compose_queue))
    assert (again.event_id, again.body, again.key) == (buried.event_id, buried.body, buried.key)


async def bury_first(url: str) -> Entry:
    """Read an entry as the dispatcher does, and bury it."""
    async with Shard("0", url) as shard:
        await shard.ensure_group()
        [entry] = await shard.read("dispatcher-1", 1, 100)
        await shard.bury(entry, "not_stored")
        return entry


async def read_one(url: str) -> Entry:
    """The next entry that the dispatcher gets."""
    async with Shard("0", url) as shard:
        [entry] = await shard.read("dispatcher-1", 1, 100)
        return entry
