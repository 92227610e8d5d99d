"""The real dispatcher and worker, in threads of the test, on real servers."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from django.db import connections

from apps.events import workflow_client
from apps.events.ids import new_event_hex
from apps.events.models import Event
from apps.sources.models import Source
from apps.streams.clients import get_client
from apps.streams.entries import STREAM
from tests.fixtures.fake_destination import fake_destination  # noqa: F401
from tests.fixtures.fake_llm import FakeLLM, fake_llm  # noqa: F401
from tests.waiting import wait_until
from tests.workers.processes import start_process  # noqa: F401
from workers import contracts
from workers.dispatcher import Pace, dispatch
from workers.temporal_worker import work

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
HURRIED = Pace(block_ms=50, reclaim_every_s=0.1, reclaim_idle_ms=200, error_pause_max_s=0.2)


class Part:
    """One of our processes' main coroutines in a thread."""

    def __init__(self, main: Work) -> None:
        self.stop_event: asyncio.Event | None = None
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(main,))
        self.thread.start()

    def _run(self, main: Work) -> None:
        try:
            asyncio.run(self._main(main))
        except Exception as error:  # noqa: BLE001 - raised again where the part is stopped
            self.failure = error
        finally:
            connections.close_all()

    async def _main(self, main: Work) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop_event = asyncio.Event()
        await main(self.stop_event)

    def stop(self) -> None:
        """In order, as by SIGTERM."""
        event = wait_until(lambda: self.stop_event)
        if event and self.thread.is_alive():
            self.loop.call_soon_threadsafe(event.set)
        self.thread.join()
        if self.failure:
            raise self.failure


class Rig:
    """Starts parts, and stops all that are left."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def start(self, main: Work) -> Part:
        self.parts.append(Part(main))
        return self.parts[-1]

    def start_worker(self) -> Part:
        return self.start(work)

    def start_dispatcher(self, pace: Pace = HURRIED) -> Part:
        return self.start(lambda stop: dispatch(stop, pace))

    def stop(self) -> None:
        for part in self.parts:
            part.stop()


@pytest.fixture
def servers(
    transactional_db: None, settings: Any, valkey_url: str, temporal_address: str
) -> Iterator[None]:
    """The shared servers, empty: the settings point to them."""
    settings.QUEUE_URLS = [valkey_url]
    settings.TEMPORAL_ADDRESS = temporal_address
    settings.TEMPORAL_TASK_QUEUE = f"test-{uuid.uuid4()}"
    settings.WORKER_CONCURRENCY = 10
    # A test whose provider is meant to be down, and not just one event unlucky, sets them again.
    settings.LLM_BREAKER_FAILURES = 0
    settings.LLM_ADAPTIVE = False
    get_client(valkey_url).flushall()
    workflow_client.forget_connection()
    yield
    workflow_client.forget_connection()


@pytest.fixture
def rig(servers: None) -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.stop()


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of the real backoff."""
    monkeypatch.setattr(contracts, "BACKOFF_BASE_S", 0.05)


@pytest.fixture
def post(settings: Any, servers: None) -> Callable[..., str]:
    """Puts an event into the queue, as ingest does; its id."""

    def post(source: Source, body: bytes = b'{"text": "[[e1]]"}', **fields: Any) -> str:
        event_id: str = fields.pop("event_id", new_event_hex())
        entry = {
            "e": event_id,
            "s": source.pk,
            "k": fields.pop("key", event_id),
            "t": "ticket.created",
            "c": "application/json",
            "r": int(time.time() * 1000),
            "b": body,
        }
        get_client(settings.QUEUE_URLS[0]).xadd(STREAM, entry | fields)
        return event_id

    return post


def wait_for_status(event_id: str | uuid.UUID, status: str, timeout_s: float = 20) -> Event:
    """The event, once it has this status."""
    events = Event.objects.filter(pk=event_id, status=status)
    wait_until(events.all().exists, timeout_s, f"status {status}")
    return events.get()
