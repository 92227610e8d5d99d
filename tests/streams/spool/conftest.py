"""A server of the test's own, and appenders with and without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from apps.streams.appender import Appenders
from apps.streams.clients import get_client
from tests.fixtures.servers import Server
from tests.streams.spool.events import (
    is_direct,
    until,
)

Own = Callable[[], Server]


@pytest.fixture
async def valkey(own_valkey: Own, settings: Any) -> AsyncIterator[Server]:
    valkey = own_valkey()
    settings.QUEUE_URLS = [valkey.address]
    yield valkey
    get_client(valkey.address).close()


@pytest.fixture
async def appenders(valkey: Server) -> AsyncIterator[Appenders]:
    appenders = Appenders()
    appenders.start()
    await until(lambda: is_direct(appenders), "the direct way")
    yield appenders
    await appenders.stop()


@pytest.fixture
async def cut_off(valkey: Server) -> Appenders:
    """Appenders whose server is dead; they are stopped by the test."""
    valkey.kill()
    appenders = Appenders()
    appenders.start()
    return appenders
