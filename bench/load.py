"""A load generator in plain Python: keep-alive connections, one request waiting on each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import multiprocessing
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STALLED_AFTER_S = 10.0


@dataclass(frozen=True)
class Load:
    """What to send, and how."""

    port: int
    path: str
    secret: str  # whsec_…
    events: int
    connections: int
    body_bytes: int
    run: str  # part of every event id


@dataclass(frozen=True)
class Result:
    """What came of it."""

    seconds: float
    latencies_ms: list[float]
    statuses: dict[int, int]


def make_body(size: int) -> bytes:
    """A ticket of about `size` bytes, of many small values like a provider's."""
    lines = [{"sku": f"item-{n}", "count": n, "price": n * 1.25} for n in range(12)]
    ticket = {"type": "ticket.created", "data": {"customer": "Ada", "lines": lines, "text": ""}}
    missing = size - len(json.dumps(ticket))
    ticket["data"]["text"] = ("My parcel has not come. " * (missing // 24 + 1))[: max(missing, 0)]  # type: ignore[index]
    return json.dumps(ticket).encode()


def make_requests(load: Load, first: int, count: int) -> list[bytes]:
    """Signed requests with ids of their own, made before the clock starts."""
    body, now = make_body(load.body_bytes), str(int(time.time())).encode()
    key = base64.b64decode(load.secret.removeprefix("whsec_"))
    head = (
        f"POST {load.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    ).encode()
    requests = []
    for number in range(first, first + count):
        event_id = f"msg_{load.run}_{number:08d}".encode()
        digest = hmac.digest(key, b"%b.%b.%b" % (event_id, now, body), hashlib.sha256)
        requests.append(
            b"%bwebhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n\r\n%b"
            % (head, event_id, now, base64.b64encode(digest), body)
        )
    return requests


def run(load: Load, generators: int = 1) -> Result:
    """Send everything from so many processes; the clock runs from the first to the last of them."""
    if generators == 1:
        return _send(load, 0, load.events, load.connections)
    share, lines = load.events // generators, load.connections // generators
    work = [(load, number * share, share, lines) for number in range(generators)]
    with multiprocessing.get_context("spawn").Pool(generators) as pool:
        results = pool.starmap(_send, work)
    statuses: dict[int, int] = {}
    for result in results:
        for status, count in result.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    latencies = [latency for result in results for latency in result.latencies_ms]
    return Result(max(result.seconds for result in results), latencies, statuses)


def _send(load: Load, first: int, count: int, connections: int) -> Result:
    requests = iter(make_requests(load, first, count))
    sockets = [socket.create_connection(("127.0.0.1", load.port)) for _ in range(connections)]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return _exchange(sockets, requests)
    finally:
        for one in sockets:
            one.close()


def _exchange(sockets: Sequence[socket.socket], requests: Iterator[bytes]) -> Result:
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    poll, clock = select.epoll(), time.perf_counter
    by_fd = {one.fileno(): one for one in sockets}
    sent_at: dict[int, float] = {}
    begun: dict[int, bytes] = {}
    begin = clock()
    for fd, one in by_fd.items():
        if (request := next(requests, None)) is not None:
            poll.register(fd, select.EPOLLIN)
            sent_at[fd] = clock()
            one.sendall(request)
    while sent_at:
        ready = poll.poll(STALLED_AFTER_S)
        if not ready:
            raise TimeoutError("The server has stopped answering.")
        for fd, _ in ready:
            one = by_fd[fd]
            piece = one.recv(65536)
            if not piece:
                raise ConnectionError("The server closed a connection.")
            answer = begun.pop(fd, b"") + piece
            # Both servers answer with one small JSON object; head and body may come apart.
            if not answer.endswith(b"}"):
                begun[fd] = answer
                continue
            latencies.append((clock() - sent_at.pop(fd)) * 1000)
            status = int(answer[9:12])
            statuses[status] = statuses.get(status, 0) + 1
            if (request := next(requests, None)) is not None:
                sent_at[fd] = clock()
                one.sendall(request)
    return Result(clock() - begin, latencies, statuses)
