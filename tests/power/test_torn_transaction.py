"""The power fails in the middle of a transaction: a piece of it lies at the end of the file.

Redis 7.0 drops only the torn command, and writes on behind the transaction's open MULTI: what
follows would be a part of it, and at the next start the piece is carried out after all. So no piece
of ours may do harm, and nothing that is acknowledged may hang on a transaction that is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.streams.appender import Appenders
from apps.streams.clients import get_client
from apps.streams.errors import QueueError
from tests.fixtures.entries import read_entries
from tests.fixtures.servers import Server


def event_id(name: str) -> bytes:
    return name.encode().hex().rjust(32, "0").encode()


def append(name: str, key: str, *more: str, body: bytes = b"{}") -> None:
    """An event `name` under this key, and more of them in the same write; acknowledged."""

    async def send_all() -> None:
        appenders = Appenders()
        appenders.start()
        try:
            await asyncio.gather(*(send(appenders, each) for each in (name, *more)))
        finally:
            await appenders.stop()

    async def send(appenders: Appenders, each: str) -> None:
        own = (key if each == name else each).encode()
        values = (event_id(each), b"1", own, b"", b"application/json", b"1700000000000", body)
        digest = b"%-8d" % hash(body)
        async with asyncio.timeout(5):
            while True:
                try:
                    await appenders.append(b"shop", own, b"d:1:" + own, (*values, b"", b"", digest))
                    return
                except QueueError:
                    await asyncio.sleep(0.01)

    asyncio.run(send_all())


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, settings: Any) -> Server:
    start: Callable[[], Server] = request.getfixturevalue(f"own_{request.param}")
    server = start()
    settings.QUEUE_URLS = [server.address]
    settings.SPOOL_MAX_BYTES = 0
    return server


def get_file(server: Server) -> Path:
    """The append-only file that the server writes."""
    folder = server.part.cwd / "appendonlydir"
    return max(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))


def restart(server: Server) -> None:
    server.kill()
    server.start()


def get_events(server: Server) -> list[bytes]:
    """The ids of the events in the stream."""
    return [entry.event_id.encode() for entry in read_entries(get_client(server.address))]


def get_claimed(server: Server) -> set[bytes]:
    """The ids of the events that dedup keys claim to be there."""
    client: Any = get_client(server.address)
    return {client.get(key)[:32] for key in client.keys("d:*")}


def tear(server: Server, word: bytes, number: int) -> None:
    """Leave of the last transaction what comes before the middle of its n-th such word."""
    path = get_file(server)
    data = path.read_bytes()
    at = data.rindex(b"MULTI")
    for _ in range(number):
        at = data.index(word, at) + 2
    path.write_bytes(data[:at])


@pytest.mark.parametrize(
    ("word", "number"),
    [(b"XADD", 1), (b"SET", 1), (b"XADD", 2), (b"SET", 2), (b"EXEC", 1)],
)
def test_no_piece_of_a_transaction_claims_an_event_that_is_not_there(
    server: Server, word: bytes, number: int
) -> None:
    append("first", "first")
    append("torn-1", "torn-1", "torn-2")
    server.kill()
    tear(server, word, number)
    server.start()
    append("later", "later")
    restart(server)
    assert {event_id("first"), event_id("later")} <= {*get_events(server)}
    assert get_claimed(server) <= {*get_events(server)}


@pytest.mark.parametrize("rewrites", [False, True])
def test_what_is_acknowledged_after_it_survives_the_next_cut(
    server: Server, rewrites: bool
) -> None:
    append("first", "first")
    append("torn", "torn")
    server.kill()
    tear(server, b"EXEC", 1)
    server.start()
    append("conflict", "first", body=b"another")  # one command: no transaction of its own
    if rewrites:
        get_client(server.address).bgrewriteaof()
    restart(server)
    assert event_id("conflict") in get_events(server)
