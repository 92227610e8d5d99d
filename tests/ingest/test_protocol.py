"""Answers leave in one write: whole, in order, and without touching a WebSocket."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ingest.conftest import Hooks


def test_requests_sent_together_are_answered_in_order(hooks: Hooks) -> None:
    address = urlsplit(hooks.base_url)
    paths = ("/healthz", "/hooks/nobody", "/healthz")
    with socket.create_connection((address.hostname, address.port or 80), 5) as sock:
        for path, close in zip(paths, ("keep-alive", "keep-alive", "close"), strict=True):
            sock.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {close}\r\n\r\n".encode()
            )
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    heads = [line for line in answers.split(b"\r\n") if b"HTTP/1.1" in line]
    assert [head.rpartition(b"HTTP/1.1 ")[2][:3] for head in heads] == [b"200", b"404", b"200"]


def test_a_page_larger_than_one_write_arrives_whole(hooks: Hooks) -> None:
    answer = hooks.client.get("/login/")
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"])
    assert answer.content.rstrip().endswith(b"</html>")


def test_a_connection_serves_many_requests(hooks: Hooks) -> None:
    for number in range(50):
        assert hooks.post(event_id=f"kept-{number}").status_code == 202


def test_a_socket_of_a_stranger_is_refused_by_its_own_protocol(hooks: Hooks) -> None:
    url = hooks.base_url.replace("http://", "ws://")
    with pytest.raises(InvalidStatus) as refused, connect(f"{url}/ws/live/"):
        pass
    assert refused.value.response.status_code == 403


def test_ingest_believes_no_forwarded_address(hooks: Hooks) -> None:
    answer = hooks.post(event_id="forwarded", x_forwarded_for="1.2.3.4", x_forwarded_proto="https")
    assert answer.status_code == 202
