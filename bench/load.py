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
from collections import deque
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
    per_s: float = 0.0  # so many at even intervals; 0: the next as soon as one is answered


@dataclass(frozen=True)
class Result:
    """What came of it."""

    seconds: float
    latencies_ms: list[float]
    statuses: dict[int, int]
    cpu_s: float  # of the generator itself


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
    cpu_s = sum(result.cpu_s for result in results)
    return Result(max(result.seconds for result in results), latencies, statuses, cpu_s)


def _send(load: Load, first: int, count: int, connections: int) -> Result:
    requests = iter(make_requests(load, first, count))
    sockets = [socket.create_connection(("127.0.0.1", load.port)) for _ in range(connections)]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return _Exchange(sockets, requests, load.per_s).run()
    finally:
        for one in sockets:
            one.close()


class _Exchange:
    """One request waiting on each connection, until all are answered."""

    def __init__(
        self, sockets: Sequence[socket.socket], requests: Iterator[bytes], per_s: float
    ) -> None:
        self._requests = requests
        self._interval_s = 1 / per_s if per_s else 0.0
        self._free = deque(sockets)  # in turns, so that none is idle until the server closes it
        self._by_fd = {one.fileno(): one for one in sockets}
        self._due_at: dict[int, float] = {}  # by the socket that waits for an answer
        self._begun: dict[int, bytes] = {}
        self._latencies: list[float] = []
        self._statuses: dict[int, int] = {}
        self._is_done = False
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)

    def run(self) -> Result:
        cpu_s, begin = time.process_time(), time.perf_counter()
        self._next_at = begin
        self._send_what_is_due()
        while self._due_at or not self._is_done:
            ready = self._poll.poll(self._get_timeout_s())
            if not ready and (self._due_at and not self._interval_s):
                raise TimeoutError("The server has stopped answering.")
            for fd, _ in ready:
                self._receive(fd)
            self._send_what_is_due()
        self._poll.close()
        seconds = time.perf_counter() - begin
        cpu_s = time.process_time() - cpu_s
        return Result(seconds, self._latencies, self._statuses, cpu_s)

    def _get_timeout_s(self) -> float:
        if not self._interval_s or self._is_done or not self._free:
            return STALLED_AFTER_S
        return max(self._next_at - time.perf_counter(), 0.0)

    def _send_what_is_due(self) -> None:
        now = time.perf_counter()
        while self._free and self._next_at <= now and not self._is_done:
            request = next(self._requests, None)
            if request is None:
                self._is_done = True
                return
            one = self._free.popleft()
            # Counted from when it was due: a server that is slow may not make the load lighter.
            self._due_at[one.fileno()] = self._next_at if self._interval_s else now
            self._next_at += self._interval_s
            one.sendall(request)

    def _receive(self, fd: int) -> None:
        piece = self._by_fd[fd].recv(65536)
        if not piece:
            raise ConnectionError("The server closed a connection.")
        answer = self._begun.pop(fd, b"") + piece
        # Both servers answer with one small JSON object; head and body may come apart.
        if not answer.endswith(b"}"):
            self._begun[fd] = answer
            return
        self._latencies.append((time.perf_counter() - self._due_at.pop(fd)) * 1000)
        status = int(answer[9:12])
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._free.append(self._by_fd[fd])
