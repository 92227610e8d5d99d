"""A real uvicorn with the real ASGI application, and a sender that signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

import pipeline_admin.asgi
from apps.ingest.app import Ingest
from apps.ingest.protocol import HookProtocol
from apps.sources.models import Source
from apps.streams.clients import get_client
from apps.streams.entries import STREAM, Entry
from tests.fixtures.cast import WEBHOOK_SECRET
from tests.fixtures.entries import read_entries
from tests.waiting import wait_until

BODY = b'{"text": "Where is my parcel?"}'


def sign(
    body: bytes, event_id: str, *, secret: str = WEBHOOK_SECRET, age_s: int = 0
) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    now = str(int(time.time()) - age_s)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{event_id}.{now}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": now,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "content-type": "application/json",
    }


class Hooks:
    """The served application, as a sender and an operator see it."""

    def __init__(self, base_url: str, queue_url: str) -> None:
        self.client = httpx.Client(base_url=base_url, timeout=5)
        self.base_url = base_url
        self.queue: Any = get_client(queue_url)

    def post(
        self,
        body: bytes = BODY,
        event_id: str = "msg_1",
        *,
        path: str = "/hooks/helpdesk",
        age_s: int = 0,
        **headers: str,
    ) -> httpx.Response:
        """A signed event; `headers` (content_type="…") replace the usual ones."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        signed = sign(body, event_id, age_s=age_s)
        return self.client.post(path, content=body, headers=signed | own)

    def entries(self) -> list[Entry]:
        """What lies in the queue."""
        return read_entries(self.queue)

    def wait_until_ready(self) -> None:
        """Until sources and queue are there."""
        wait_until(self.takes_events, 10, "a 202")

    def takes_events(self) -> bool:
        """Whether a new event is taken in now."""
        return self.post(event_id=f"probe-{time.time_ns()}").status_code == 202


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Status and machine word of a problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.content)
    assert document["status"] == response.status_code
    assert document["detail"].endswith(".")
    return response.status_code, document["code"]


@contextmanager
def serving(queue_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    monkeypatch.setattr(pipeline_admin.asgi, "ingest", Ingest())
    config = uvicorn.Config(
        pipeline_admin.asgi.application,
        port=0,
        loop="uvloop",
        http=HookProtocol,
        lifespan="on",
        proxy_headers=False,  # as `manage.py web`: asgi.py and ingest mind them
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    # A daemon: one that hangs fails its test, and must not keep the whole run from ending.
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    wait_until(lambda: server.started, 10, "the start of uvicorn")
    port = server.servers[0].sockets[0].getsockname()[1]
    hooks = Hooks(f"http://127.0.0.1:{port}", queue_url)
    try:
        yield hooks
    finally:
        hooks.client.close()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def start_hooks(
    transactional_db: None,
    helpdesk: Source,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Serves on a queue of the test's own choice; the first of several shards is `Hooks.queue`."""

    def start(*queue_urls: str) -> Any:
        settings.QUEUE_URLS = [*queue_urls]
        return serving(queue_urls[0], monkeypatch)

    return start


@pytest.fixture
def hooks(start_hooks: Callable[[str], Any], valkey_url: str) -> Iterator[Hooks]:
    """Serves on the shared Valkey, emptied."""
    get_client(valkey_url).flushall()
    with start_hooks(valkey_url) as hooks:
        hooks.wait_until_ready()
        hooks.queue.delete(STREAM)
        yield hooks
