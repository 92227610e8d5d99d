"""Three queue servers, one of them frozen or dead: only its own events notice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from apps.streams.addresses import get_addresses
from apps.streams.clients import get_client
from apps.streams.placement import Placement
from tests.fixtures.entries import read_entries
from tests.fixtures.servers import Server
from tests.ingest.conftest import Hooks, code_of
from tests.ingest.senders import Senders
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = [f"msg_{number}" for number in range(30)]


@dataclass
class Three:
    """The served application on three servers."""

    hooks: Hooks
    servers: list[Server]

    def freeze(self, number: int) -> None:
        os.kill(self.servers[number].process.pid, signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        os.kill(self.servers[number].process.pid, signal.SIGCONT)

    def get_keys(self, number: int) -> set[str]:
        """What lies in this shard."""
        return {entry.key for entry in read_entries(get_client(self.servers[number].address))}

    @cached_property
    def placement(self) -> Placement:
        return Placement([address.name for address in get_addresses()])

    def find(self, key: str) -> int:
        """The shard where an event with this id belongs."""
        return self.placement.find(b"helpdesk", key.encode())

    def all_take_events(self) -> bool:
        """Whether an event for each shard is taken in now."""
        probes = [f"probe-{time.time_ns()}-{number}" for number in range(20)]
        return all(self.hooks.post(event_id=key).status_code == 202 for key in probes)


@pytest.fixture
def three(
    start_hooks: Callable[..., Any],
    own_valkey: Callable[[], Server],
    settings: Any,
    tmp_path: Path,
) -> Iterator[Three]:
    settings.SPOOL_DIR = tmp_path / "spool"
    servers = [own_valkey() for _ in range(3)]
    with start_hooks(*(server.address for server in servers)) as hooks:
        three = Three(hooks, servers)
        wait_until(three.all_take_events, 10, "three shards")
        yield three


@pytest.fixture
def no_spool(settings: Any) -> None:
    settings.SPOOL_MAX_BYTES = 0


def test_events_lie_in_the_shard_of_their_key(three: Three) -> None:
    for key in KEYS:
        assert three.hooks.post(event_id=key).status_code == 202
        assert three.hooks.post(event_id=key).status_code == 200
    for number in range(3):
        expected = {key for key in KEYS if three.find(key) == number}
        assert expected
        assert three.get_keys(number) & {*KEYS} == expected


@pytest.mark.usefixtures("no_spool")
@pytest.mark.parametrize("number", [0, 1])
def test_a_frozen_shard_refuses_its_own_events_within_two_seconds_and_no_other(
    three: Three, number: int
) -> None:
    three.freeze(number)
    for key in KEYS:
        began_s = time.monotonic()
        answer = three.hooks.post(event_id=key)
        took_s = time.monotonic() - began_s
        if three.find(key) == number:
            assert code_of(answer) == (503, "queue_down")
            assert took_s < 2
        else:
            assert answer.status_code == 202
            assert took_s < 0.5
    three.thaw(number)
    wait_until(three.all_take_events, 10, "recovery")
    assert three.hooks.post(event_id=KEYS[0]).status_code in (200, 202)


@pytest.mark.usefixtures("no_spool")
def test_a_dead_shard_refuses_its_own_events_and_no_other(three: Three) -> None:
    three.servers[2].kill()
    statuses = {key: three.hooks.post(event_id=key).status_code for key in KEYS}
    assert statuses == {key: 503 if three.find(key) == 2 else 202 for key in KEYS}


def test_with_the_spool_no_sender_notices_and_every_event_reaches_its_shard(three: Three) -> None:
    with Senders(three.hooks.base_url) as senders:
        wait_until(lambda: len(senders.acknowledged) > 200, what="events")
        three.freeze(1)
        goal = len(senders.acknowledged) + 500
        wait_until(lambda: len(senders.acknowledged) > goal, 20, "events while a shard is frozen")
        three.thaw(1)
    assert senders.refusals == {}
    assert senders.slowest_s < 2
    acknowledged = {key for key, _ in senders.acknowledged}

    def are_in_their_shards() -> bool:
        return all(
            {key for key in acknowledged if three.find(key) == number} <= three.get_keys(number)
            for number in range(3)
        )

    wait_until(are_in_their_shards, 20, "every event in its shard")
