"""Changes reach every process at once, and a queue that is down stops nobody from saving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from apps.streams import announcements
from apps.streams.announcements import announce, listen
from tests.fixtures.servers import Server


async def heard(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()
    event.clear()


@pytest.mark.usefixtures("queue")
async def test_a_listener_hears_an_announcement_at_once() -> None:
    event = asyncio.Event()
    listener = asyncio.create_task(listen("sources", event.set))
    await heard(event)  # it looks once by itself, as soon as it listens
    assert announce("sources")
    await heard(event)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_a_listener_looks_again_after_the_server_was_away(
    own_server: Callable[[], Server], settings: Any
) -> None:
    server = own_server()
    settings.QUEUE_URLS = [server.address]
    event = asyncio.Event()
    listener = asyncio.create_task(listen("sources", event.set))
    await heard(event)
    server.kill()
    server.start()
    await heard(event)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


def test_announcing_never_raises_and_logs_once_while_the_queue_is_down(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "_is_down_logged", False)
    settings.QUEUE_URLS = ["unix:///nowhere/valkey.sock"]
    with caplog.at_level(logging.WARNING):
        assert [announce("sources"), announce("sources")] == [False, False]
    assert caplog.text.count("are not announced") == 1
