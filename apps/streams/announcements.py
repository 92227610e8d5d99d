"""Small messages to every process: something has changed, look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import redis.asyncio
from django.conf import settings

from apps.streams.asking import ASK_TIMEOUT_S
from apps.streams.clients import get_client
from apps.streams.errors import QueueError, translated

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0
# Long silence is normal; a ping shows that the connection still lives.
PING_INTERVAL_S = 15.0
_is_down_logged = False


def announce(topic: str) -> bool:
    """Tell every listener; False where the first shard's server is down (logged once)."""
    global _is_down_logged
    try:
        with translated():
            get_client(settings.QUEUE_URLS[0], ASK_TIMEOUT_S).publish(_channel(topic), b"")
    except QueueError as error:
        if not _is_down_logged:
            logger.warning("Changes of %s are not announced now: %s", topic, error)
        _is_down_logged = True
        return False
    _is_down_logged = False
    return True


async def listen(topic: str, on_message: Callable[[], None]) -> None:
    """Call `on_message` for each announcement, and after each reconnect, until cancelled."""
    while True:
        try:
            with translated():
                await _listen(topic, on_message)
        except QueueError:
            await asyncio.sleep(RECONNECT_S)


async def _listen(topic: str, on_message: Callable[[], None]) -> None:
    client = redis.asyncio.Redis.from_url(
        settings.QUEUE_URLS[0], socket_connect_timeout=2.0, health_check_interval=PING_INTERVAL_S
    )
    async with client, client.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(_channel(topic))
        on_message()
        while True:
            if await subscription.get_message(timeout=PING_INTERVAL_S) is not None:
                on_message()


def _channel(topic: str) -> str:
    return f"pipeline:changed:{topic}"
