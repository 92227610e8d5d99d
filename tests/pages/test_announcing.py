"""Announcing a change costs a worker nothing, whatever the queue server does."""

from __future__ import annotations

import time

import pytest
from pytest_django import Settings

from apps.dashboard import live
from tests.waiting import wait_until


def test_a_burst_is_one_message_and_one_more_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    async def note(topics: list[str]) -> None:
        sent.append(topics)

    monkeypatch.setattr(live, "send", note)
    announcer = live.Announcer(interval_s=1.0)

    announcer.announce("events")
    wait_until(lambda: sent)
    for _ in range(20):
        announcer.announce("figures")
        announcer.announce("events")
        time.sleep(0.01)
    assert len(sent) == 1
    wait_until(lambda: len(sent) == 2)

    assert sent == [["events"], ["events", "figures"]]


async def test_a_queue_server_that_is_down_raises_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }

    await live.send(["events"])

    assert "were not told" in caplog.text
