"""The power fails under load, ten times: what was acknowledged is there. With `everysec` it is not.

Both runs are the same but for that one word. The server hides its settings, so that ingest has to
be told to trust it (QUEUE_TRUSTED): a server that shows `everysec` would be given no event at all.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.streams.clients import get_client
from tests.fixtures.entries import read_entries
from tests.ingest.conftest import Hooks
from tests.ingest.senders import ANSWER_WITHIN_S, Senders
from tests.power.conftest import PoweredServer, StartPowered
from tests.power.disk import Cut
from tests.waiting import wait_until

# Nothing here hangs on the kind of database: on PostgreSQL it is not run again.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
StartHooks = Callable[[str], Any]
logger = logging.getLogger(__name__)
SEED = 20261124
LOAD_S = (0.1, 0.6)


def cut_power(server: PoweredServer, chance: random.Random, *, rewrite: bool) -> Cut:
    """Load for a random time, with or without a rewrite of the file under way; then the cut."""
    if rewrite:
        get_client(server.address).bgrewriteaof()
    time.sleep(chance.uniform(*LOAD_S))
    server.kill()
    cut = server.disk.cut(chance)
    server.start()
    return cut


def cut_often(server: PoweredServer, hooks: Hooks, times: int) -> Senders:
    """The senders after so many power cuts, stopped; the queue takes events then."""
    chance = random.Random(SEED)
    with Senders(hooks.base_url) as senders:
        for number in range(times):
            hooks.wait_until_ready()
            before = len(senders.acknowledged)
            cut = cut_power(server, chance, rewrite=number % 2 == 1)
            after = len(senders.acknowledged)
            logger.info("Cut %d of seed %d, %d more events: %s", number, SEED, after - before, cut)
            assert after > before
        hooks.wait_until_ready()
    assert senders.slowest_s < ANSWER_WITHIN_S
    return senders


def find_lost(senders: Senders, hooks: Hooks, spool: Path) -> set[str]:
    """Ids of acknowledged events that are not in the queue, once the local spool is fed to it."""
    wait_until(lambda: not [*spool.rglob("*.spool")], 20, "an empty spool")
    there = {entry.event_id for entry in read_entries(hooks.queue)}
    return {event_id for _, event_id in senders.acknowledged} - there


@pytest.fixture(autouse=True)
def spool(settings: Any, tmp_path: Path) -> Path:
    """Where ingest puts events while the server is away: on a disk that keeps its power."""
    settings.QUEUE_TRUSTED = True
    settings.SPOOL_DIR = tmp_path / "spool"
    return tmp_path / "spool"


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_no_acknowledged_event_is_lost_in_ten_power_cuts(
    start_powered: StartPowered, start_hooks: StartHooks, spool: Path, kind: str
) -> None:
    server = start_powered(kind, "always")
    with start_hooks(server.address) as hooks:
        senders = cut_often(server, hooks, times=10)
        assert find_lost(senders, hooks, spool) == set()


def test_the_same_cuts_lose_acknowledged_events_where_only_every_second_is_synced(
    start_powered: StartPowered, start_hooks: StartHooks, spool: Path
) -> None:
    server = start_powered("valkey", "everysec")
    with start_hooks(server.address) as hooks:
        senders = cut_often(server, hooks, times=3)
        assert len(find_lost(senders, hooks, spool)) > 0
