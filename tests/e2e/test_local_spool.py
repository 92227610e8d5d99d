"""The queue server freezes under a running system: senders notice nothing, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.system import System
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@contextmanager
def frozen_queue(system: System) -> Iterator[None]:
    pid = system.get_pid("valkey")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """To this process: no file of it may grow."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def post(system: System, key: str) -> httpx.Response:
    """Answered within two seconds, whatever is down."""
    began = time.monotonic()
    answer = system.post("spooled", key, {"ticket": key, "text": "Where is my parcel?"})
    assert time.monotonic() - began < 2
    return answer


def accept(system: System, key: str) -> str:
    answer = post(system, key)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def is_up(system: System) -> bool:
    try:
        return system.web.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def get_parts(system: System) -> dict[str, Any]:
    return dict(system.web.get("/readyz").json()["parts"])


def test_an_outage_with_a_crash_and_a_full_disk_in_it_loses_nothing(system: System) -> None:
    system.create_way("spooled")
    ids = {"before": accept(system, "before")}
    with frozen_queue(system):
        for number in range(30):
            ids[f"frozen {number}"] = accept(system, f"frozen {number}")
        assert post(system, "frozen 7").json() == {"id": ids["frozen 7"], "duplicate": True}

        system.kill("web")
        wait_until(lambda: is_up(system), 60, "the pages")
        ids["after the crash"] = accept(system, "after the crash")

        with full_disk(system.get_pid("web")):
            refused = post(system, "no room")
            assert (refused.status_code, refused.json()["code"]) == (503, "queue_down")
            assert int(refused.headers["retry-after"]) >= 1
        wait_until(lambda: post(system, "room").is_success, 10, "room")
        ids["room"] = post(system, "room").json()["id"]

        wait_until(lambda: "32 events wait" in get_parts(system)["queue"]["why"], 10, "the figure")
        assert get_parts(system)["spool"]["ok"]

    system.wait_until_ready()
    system.wait_until_settled("spooled", len(ids))
    found = {event["id"]: event["status"] for event in system.get_events(source="spooled")}
    assert found == dict.fromkeys(ids.values(), "delivered")
    wait_until(lambda: get_parts(system)["queue"]["why"] == "", 10, "an empty spool")
    assert [*(system.data_dir / "spool").rglob("*.spool")] == []
