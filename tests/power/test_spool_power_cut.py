"""The power of a web process fails while the local spool acknowledges: nothing of it is lost.

The queue server is down, so every acknowledged event lies in the spool and nowhere else. In the
last round it comes back, and the power fails while the spool is being fed to it.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.sources.models import Source
from apps.streams.clients import get_client
from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.bootstrap.readiness import http_answers
from tests.fixtures.entries import read_entries
from tests.fixtures.servers import Server
from tests.ingest.senders import Senders
from tests.power.disk import Disk
from tests.waiting import wait_until
from tests.workers.processes import get_database_url

# Nothing here hangs on the kind of database: on PostgreSQL it is not run again.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
logger = logging.getLogger(__name__)
SEED = 20261124
# Python reads this file at its start: a program that says it has synced, and has not.
WITHOUT_FSYNC = "import os\nos.fsync = os.fdatasync = lambda fd: None\n"


class Web(Server):
    """A web process whose spool lies on a disk that loses what was not synced."""

    disk: Disk


@pytest.fixture
def queue_server(own_valkey: Callable[[], Server]) -> Server:
    """It is down until the test starts it."""
    server = own_valkey()
    server.stop()
    return server


@pytest.fixture
def start_web(
    helpdesk: Source, queue_server: Server, unsynced_library: Path, tmp_path: Path
) -> Iterator[Callable[..., Web]]:
    started: list[Web] = []

    def start(*, syncs: bool) -> Web:
        disk = Disk(tmp_path / "spool", tmp_path / "notes", unsynced_library)
        (port,) = free_ports(1)
        environ = disk.environ | {
            "DATA_DIR": str(tmp_path),
            "DATABASE_URL": get_database_url(tmp_path),
            "QUEUE_URL": queue_server.address,
            "SPOOL_DIR": str(disk.folder),
        }
        if not syncs:
            (tmp_path / "sitecustomize.py").write_text(WITHOUT_FSYNC)
            environ["PYTHONPATH"] = str(tmp_path)
        words = [f"{name}={value}" for name, value in environ.items()]
        web = ("manage.py", "web", "--port", str(port))
        part = Part(
            name="web",
            command=("/usr/bin/env", *words, sys.executable, *web),
            is_ready=lambda: http_answers(port, "/healthz"),
            ready_timeout_s=60,
        )
        server = Web(part, tmp_path / "web.log", f"http://127.0.0.1:{port}")
        server.disk = disk
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


def cut_power(web: Web, senders: Senders, chance: random.Random) -> None:
    """Once some more events are acknowledged, at any moment."""
    goal = len(senders.acknowledged) + 100
    wait_until(lambda: len(senders.acknowledged) >= goal, 20, "more events")
    time.sleep(chance.uniform(0, 0.2))
    web.kill()
    cut = web.disk.cut(chance)
    logger.info("Seed %d, %d acknowledged: %s", SEED, len(senders.acknowledged), cut)


def find_lost(senders: Senders, web: Web, queue_server: Server) -> set[str]:
    """Ids of acknowledged events that are not in the queue, once the spool is fed to it."""
    wait_until(lambda: not [*web.disk.folder.rglob("*.spool")], 20, "an empty spool")
    there = {entry.event_id for entry in read_entries(get_client(queue_server.address))}
    return {event_id for _, event_id in senders.acknowledged} - there


def test_no_event_that_the_spool_acknowledged_is_lost_in_power_cuts(
    start_web: Callable[..., Web], queue_server: Server
) -> None:
    web, chance = start_web(syncs=True), random.Random(SEED)
    with Senders(web.address) as senders:
        for _ in range(3):
            cut_power(web, senders, chance)
            web.start()
        queue_server.start()
        cut_power(web, senders, chance)
        web.start()
    assert find_lost(senders, web, queue_server) == set()


def test_the_same_cut_loses_events_where_the_spool_does_not_sync(
    start_web: Callable[..., Web], queue_server: Server
) -> None:
    web = start_web(syncs=False)
    with Senders(web.address) as senders:
        cut_power(web, senders, random.Random(SEED))
    queue_server.start()
    web.start()
    assert len(find_lost(senders, web, queue_server)) > 0
