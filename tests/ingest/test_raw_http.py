"""HTTP that no client library would send."""

from __future__ import annotations

import base64
import hmac
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import pipeline_admin.asgi
from apps.sources.models import Secret, Source
from apps.sources.rules import Rules
from tests.ingest.conftest import BODY, Hooks, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1_048_576
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


@contextmanager
def connected(hooks: Hooks) -> Iterator[socket.socket]:
    address = urlsplit(hooks.base_url)
    with socket.create_connection((address.hostname, address.port or 80), 10) as connection:
        yield connection


def write_head(*lines: str, target: str = "/hooks/helpdesk", **replaced: str) -> bytes:
    """The head of a signed event; `lines` are further headers."""
    own = [f"{name}: {value}" for name, value in (sign(BODY, "msg_1") | replaced).items()]
    return "\r\n".join([f"POST {target} HTTP/1.1", "host: x", *own, *lines, "", ""]).encode()


def exchange(hooks: Hooks, request: bytes) -> bytes:
    """The first answer to these bytes."""
    with connected(hooks) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join([*chunks, b"0\r\n", trailers, b"\r\n"])


def read_memory() -> int:
    """Bytes of this process that are in memory: the server runs in a thread of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- Bodies without end -------------------------------------------------------------------------


def test_endless_chunks_are_cut_at_the_limit_and_fill_no_memory(hooks: Hooks) -> None:
    before = read_memory()
    with connected(hooks) as connection:
        connection.sendall(write_head("transfer-encoding: chunked"))
        connection.settimeout(0.05)
        answer, sent = b"", 0
        while not answer and sent < 200 * MEGABYTE:
            sent += send_what_fits(connection, CHUNK)
            answer = receive_now(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert sent < 20 * MEGABYTE
        for _ in range(500):  # who goes on after the answer is read and forgotten
            if send_what_fits(connection, CHUNK) == 0:
                break
    assert read_memory() - before < 40 * MEGABYTE


def send_what_fits(connection: socket.socket, data: bytes) -> int:
    try:
        connection.sendall(data)
    except (TimeoutError, ConnectionError):
        return 0
    return len(data)


def receive_now(connection: socket.socket) -> bytes:
    connection.setblocking(False)
    try:
        return connection.recv(65_536)
    except (BlockingIOError, ConnectionError):
        return b""
    finally:
        connection.settimeout(5)


def test_one_chunk_may_not_be_larger_than_the_limit_either(hooks: Hooks) -> None:
    head = write_head("transfer-encoding: chunked")
    assert exchange(hooks, head + b"7fffffff\r\n" + b"x" * (MEGABYTE + 70_000)).startswith(
        b"HTTP/1.1 413 "
    )


def test_a_body_in_chunks_is_one_body(hooks: Hooks) -> None:
    request = write_head("transfer-encoding: chunked") + chunked(BODY[:5], BODY[5:])
    assert exchange(hooks, request).startswith(b"HTTP/1.1 202 ")
    assert hooks.entries()[0].body == BODY


def test_a_body_that_ends_early_is_no_event(hooks: Hooks) -> None:
    with connected(hooks) as connection:
        connection.sendall(write_head(f"content-length: {len(BODY)}") + BODY[:-1])
    assert hooks.post(event_id="msg_2").status_code == 202
    assert [entry.key for entry in hooks.entries()] == ["msg_2"]


# --- Who costs memory or a place without a signature ---------------------------------------------


def test_headers_without_end_are_cut_and_fill_no_memory(hooks: Hooks) -> None:
    before = read_memory()
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(100))
    with connected(hooks) as connection:
        connection.sendall(b"POST /hooks/helpdesk HTTP/1.1\r\n")
        connection.settimeout(0.05)
        answer, sent = b"", 0
        while not answer and sent < 50 * MEGABYTE:
            sent += send_what_fits(connection, lines)
            answer = receive_now(connection)
    assert sent < 20 * MEGABYTE
    assert read_memory() - before < 20 * MEGABYTE


def test_a_head_that_takes_too_long_is_refused(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.ingest.protocol.HEAD_TIMEOUT_S", 0.3)
    for start, answer in (
        (b"", b""),
        (b"POST /hooks/helpdesk HTTP/1.1\r\nx-a: b", b"HTTP/1.1 408"),
    ):
        with connected(hooks) as connection:
            connection.settimeout(5)
            connection.sendall(start)
            assert connection.recv(12) == answer


def test_who_reads_no_answers_is_not_read_either(hooks: Hooks) -> None:
    request = b"POST /hooks/helpdesk HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    with connected(hooks) as connection:
        connection.settimeout(1)
        sent = 0
        while sent < 20 * MEGABYTE and (more := send_what_fits(connection, request * 100)):
            sent += more
    assert sent < 20 * MEGABYTE


def test_a_bug_is_no_fault_of_the_sender(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = pipeline_admin.asgi.ingest.registry.sources["helpdesk"]
    monkeypatch.setattr(source, "secret_ids", [])
    request = write_head(f"content-length: {len(BODY)}") + BODY
    assert exchange(hooks, request).startswith(b"HTTP/1.1 500 ")
    assert "IndexError" in caplog.text


def test_http_1_0_is_answered_and_closed(hooks: Hooks) -> None:
    request = write_head(f"content-length: {len(BODY)}", "connection: keep-alive") + BODY
    answer = exchange(hooks, request.replace(b" HTTP/1.1", b" HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"\r\nconnection: close\r\n" in answer


# --- One request, read as two by somebody else --------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 4", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 4"),
        ("content-length: 4", "content-length: 5"),
        ("transfer-encoding: chunked, identity",),
        ("content-length: +4",),
        ("content-length: 4, 4",),
        ("content-length : 4",),
        ("content-length: -1",),
    ],
)
def test_a_length_that_can_be_read_in_two_ways_is_refused(
    hooks: Hooks, lines: tuple[str, ...]
) -> None:
    answer = exchange(hooks, write_head(*lines) + chunked(BODY))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert hooks.entries() == []


def test_a_second_request_hidden_in_a_chunked_body_is_not_answered(hooks: Hooks) -> None:
    hidden = write_head(f"content-length: {len(BODY)}", **sign(BODY, "msg_hidden")) + BODY
    request = write_head("transfer-encoding: chunked", "connection: close") + chunked(BODY + hidden)
    with connected(hooks) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 401 ")


# --- Headers that are none ----------------------------------------------------------------------


def test_a_trailer_is_no_header(hooks: Hooks, helpdesk: Source) -> None:
    """It would be the right end of X-Forwarded-For, where the proxy's own entry stands."""
    helpdesk.rules = Rules.parse({"addresses": ["192.0.2.7"]}).get_changed()
    helpdesk.save()
    registry = pipeline_admin.asgi.ingest.registry
    wait_until(lambda: registry.sources["helpdesk"].row.rules == helpdesk.rules, 5)
    head = write_head("transfer-encoding: chunked", "x-forwarded-for: 203.0.113.9")
    trailers = b"x-forwarded-for: 192.0.2.7\r\n"
    assert exchange(hooks, head + chunked(BODY, trailers=trailers)).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("connection", ["Upgrade, HTTP2-Settings", "Upgrade, close"])
@pytest.mark.parametrize("cut", [0, 1, 7, 400])
def test_a_sender_that_would_rather_speak_http_2_is_answered_in_this_one(
    hooks: Hooks, connection: str, cut: int
) -> None:
    """As Java's client sends each first request to an http address."""
    head = write_head(
        f"connection: {connection}", "upgrade: h2c", "http2-settings: AAMAAABk",
        f"content-length: {len(BODY)}",
    )  # fmt: skip
    request = head + BODY
    with connected(hooks) as socket:
        for piece in (request[:-cut], request[-cut:]) if cut else (request,):
            socket.sendall(piece)
            time.sleep(0.02)  # else the kernel joins them; either way must do
        assert socket.recv(65_536).startswith(b"HTTP/1.1 202 ")
        socket.sendall(write_head(f"content-length: {len(BODY)}") + BODY)
        second = socket.recv(65_536)
    assert second == b"" if "close" in connection else second.startswith(b"HTTP/1.1 200 ")
    assert [entry.body for entry in hooks.entries()] == [BODY]


def test_a_trailer_signs_nothing(hooks: Hooks) -> None:
    signature = sign(BODY, "msg_1")["webhook-signature"]
    head = write_head("transfer-encoding: chunked", **{"webhook-signature": ""})
    request = head + chunked(BODY, trailers=f"webhook-signature: {signature}\r\n".encode())
    assert not exchange(hooks, request).startswith(b"HTTP/1.1 202 ")
    assert hooks.entries() == []


def test_a_name_with_an_underscore_is_another_name(hooks: Hooks) -> None:
    headers = sign(BODY, "msg_1")
    signature = headers.pop("webhook-signature")
    headers |= {"webhook_signature": signature}
    answer = hooks.client.post("/hooks/helpdesk", content=BODY, headers=headers)
    assert answer.status_code == 401
    beside = sign(BODY, "msg_1") | {"webhook_signature": "v1,AAAA", "webhook_id": "another"}
    assert hooks.client.post("/hooks/helpdesk", content=BODY, headers=beside).status_code == 202
    assert [entry.key for entry in hooks.entries()] == ["msg_1"]


def test_a_scheme_may_name_a_header_with_an_underscore(hooks: Hooks, helpdesk: Source) -> None:
    source = Source.objects.create(
        slug="shop",
        name="Shop",
        scheme="hmac",
        options={"header": "x_signature"},
        pipeline=helpdesk.pipeline,
    )
    Secret.objects.create(source=source, value="s3cret")
    signature = hmac.digest(b"s3cret", BODY, "sha256").hex()

    def post(name: str) -> int:
        headers = {name: signature, "content-type": "application/json"}
        return hooks.client.post("/hooks/shop", content=BODY, headers=headers).status_code

    wait_until(lambda: post("x_signature") in (200, 202), 5)
    assert post("x-signature") == 401


@pytest.mark.parametrize(
    "value", ["gzip", "GZIP", "br", "deflate", "identity, gzip", "identity,gzip"]
)
def test_an_encoded_body_is_refused(hooks: Hooks, value: str) -> None:
    for length in (f"content-length: {len(BODY)}", "transfer-encoding: chunked"):
        body = BODY if "length" in length else chunked(BODY)
        answer = exchange(hooks, write_head(length, f"content-encoding: {value}") + body)
        assert answer.startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize("line", ["x-a: b\x00c", "x-a: b\rc", " folded: x", "x a: b", ": b"])
def test_a_header_that_cannot_be_read_is_refused(hooks: Hooks, line: str) -> None:
    answer = exchange(hooks, write_head(f"content-length: {len(BODY)}", line) + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")


# --- The address --------------------------------------------------------------------------------


def test_an_absolute_url_is_the_same_address(hooks: Hooks) -> None:
    head = write_head(f"content-length: {len(BODY)}", target="http://evil.example/hooks/helpdesk")
    assert exchange(hooks, head + BODY).startswith(b"HTTP/1.1 202 ")


def test_the_signed_url_is_the_public_one_whatever_the_host_says(
    hooks: Hooks, helpdesk: Source, settings: Any
) -> None:
    source = Source.objects.create(
        slug="shop",
        name="Shop",
        scheme="hmac",
        options={"header": "x-signature", "signed": "{url}|{body}", "encoding": "base64"},
        pipeline=helpdesk.pipeline,
    )
    Secret.objects.create(source=source, value="s3cret")

    def post(url: str, target: str = "/hooks/shop?a=1") -> bytes:
        digest = hmac.digest(b"s3cret", f"{url}|".encode() + BODY, "sha256")
        signature = base64.b64encode(digest).decode()
        own = [f"x-signature: {signature}", "x-forwarded-host: evil.example"]
        length = f"content-length: {len(BODY)}"
        head = write_head(length, *own, target=target).replace(b"host: x", b"host: evil.example")
        return exchange(hooks, head + BODY)[:12]

    public = f"{settings.PUBLIC_URL}/hooks/shop?a=1"
    wait_until(lambda: post(public) in (b"HTTP/1.1 202", b"HTTP/1.1 200"), 5)
    for target in ("/hooks/shop?a=1", "http://evil.example/hooks/shop?a=1"):
        assert post(public, target) == b"HTTP/1.1 200"
        assert post("http://evil.example/hooks/shop?a=1", target) == b"HTTP/1.1 401"


def test_two_events_in_one_write_are_two_events(hooks: Hooks) -> None:
    requests = b"".join(
        write_head(f"content-length: {len(BODY)}", **sign(BODY, f"msg_{number}")) + BODY
        for number in range(3)
    )
    with connected(hooks) as connection:
        connection.sendall(requests)
        answers = b""
        deadline = time.monotonic() + 5
        while answers.count(b"HTTP/1.1 202 ") < 3 and time.monotonic() < deadline:
            answers += connection.recv(65_536)
    assert [entry.key for entry in hooks.entries()] == ["msg_0", "msg_1", "msg_2"]


def test_a_connection_that_says_nothing_more_after_an_answer_is_closed(hooks: Hooks) -> None:
    request = write_head(f"content-length: {len(BODY)}") + BODY
    with connected(hooks) as connection:
        for status in (b"202", b"200"):
            connection.sendall(request)
            assert connection.recv(65_536)[9:12] == status
            answered_at = time.monotonic()
        assert connection.recv(65_536) == b""  # else the socket's own 10 s end the test
    assert time.monotonic() - answered_at > 4  # uvicorn's keep-alive is 5 s
