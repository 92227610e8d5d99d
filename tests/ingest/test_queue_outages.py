"""Whatever the queue server does: no 2xx without the event on disk, and an answer within 2 s."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.servers import Server
from tests.ingest.conftest import Hooks, code_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[[str], Any]


def test_a_frozen_server_is_answered_503_within_two_seconds_and_recovers(
    start_hooks: Start, own_valkey: Callable[[], Server]
) -> None:
    valkey = own_valkey()
    with start_hooks(valkey.address) as hooks:
        hooks.wait_until_ready()
        os.kill(valkey.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        first, second = hooks.post(), hooks.post()
        took_s = time.monotonic() - began
        os.kill(valkey.process.pid, signal.SIGCONT)
        assert code_of(first) == code_of(second) == (503, "queue_down")
        assert int(first.headers["retry-after"]) >= 1
        assert took_s < 2
        wait_until(hooks.takes_events, 10, "recovery")
        # The outcome was unknown to us; the sender's retry finds out.
        assert hooks.post().status_code in (200, 202)
        assert [entry.key for entry in hooks.entries()].count("msg_1") == 1


def test_a_killed_server_is_answered_503_and_nothing_acknowledged_is_lost(
    start_hooks: Start, own_valkey: Callable[[], Server]
) -> None:
    valkey = own_valkey()
    with start_hooks(valkey.address) as hooks:
        hooks.wait_until_ready()
        assert hooks.post(event_id="before").status_code == 202
        valkey.kill()
        assert code_of(hooks.post()) == (503, "queue_down")
        valkey.start()
        wait_until(hooks.takes_events, 10, "recovery")
        assert hooks.post(event_id="before").status_code == 200
        assert "before" in [entry.key for entry in hooks.entries()]


def test_it_starts_before_the_queue_and_takes_events_when_it_comes(
    start_hooks: Start, own_valkey: Callable[[], Server]
) -> None:
    valkey = own_valkey()
    valkey.kill()
    with start_hooks(valkey.address) as hooks:
        assert code_of(hooks.post()) == (503, "queue_down")
        valkey.start()
        wait_until(hooks.takes_events, 10, "the first event")


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("appendfsync", "everysec", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ],
)
def test_a_server_that_would_not_fsync_gets_no_event_until_it_does(
    start_hooks: Start, own_valkey: Callable[[], Server], name: str, wrong: str, right: str
) -> None:
    valkey = own_valkey()
    with start_hooks(valkey.address) as hooks:
        hooks.queue.config_set(name, wrong)
        hooks.queue.client_kill_filter(_type="normal")
        wait_until(lambda: code_of_refusal(hooks) == "queue_not_durable", 10, "the refusal")
        hooks.queue.config_set(name, right)
        wait_until(hooks.takes_events, 10, "recovery")


def code_of_refusal(hooks: Hooks) -> str:
    response = hooks.post()
    return code_of(response)[1] if response.status_code == 503 else ""


def test_a_full_server_is_answered_503(
    start_hooks: Start, own_valkey: Callable[[], Server]
) -> None:
    valkey = own_valkey()
    with start_hooks(valkey.address) as hooks:
        hooks.wait_until_ready()
        hooks.queue.config_set("maxmemory", "1")
        assert code_of(hooks.post()) == (503, "queue_full")
        hooks.queue.config_set("maxmemory", "0")
        assert hooks.post().status_code == 202


def test_a_server_that_forgot_the_script_is_taught_again(hooks: Hooks) -> None:
    hooks.queue.script_flush()
    assert hooks.post().status_code == 202
    assert hooks.post(event_id="msg_2").status_code == 202
