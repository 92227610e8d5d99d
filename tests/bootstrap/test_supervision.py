"""What `up` promises about its processes: restarted when they die, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_admin.bootstrap.locations import BASE_DIR
from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.processes import rotate
from pipeline_admin.bootstrap.supervisor import Watched
from tests.waiting import wait_until


class FakeSystem:
    """A supervisor process over fake parts."""

    def __init__(self, data_dir: Path, *names: str) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "tests.bootstrap.fake_system", str(data_dir), *names]
        self.process = subprocess.Popen(
            command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def part(self, name: str) -> dict[str, Any]:
        """Its row as the page sees it; empty while there is none."""
        path = self.data_dir / "parts.json"
        rows = json.loads(path.read_text())["parts"] if path.exists() else []
        return next((row for row in rows if row["name"] == name), {})

    def wait_for(self, name: str, state: str = "running", restarts: int = 0) -> int:
        """Its process id, once it is in that state."""
        wait_until(
            lambda: (
                (self.part(name).get("state"), self.part(name).get("restarts")) == (state, restarts)
            ),
            what=f"{name} is {state}",
        )
        return int(self.part(name)["pid"])

    def end(self, number: signal.Signals) -> tuple[str, float]:
        """Send the signal; what was said until the end, and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        output = self.process.communicate(timeout=20)[0]
        return output, time.monotonic() - started


Start = Callable[..., FakeSystem]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[FakeSystem] = []

    def start_system(*names: str) -> FakeSystem:
        started.append(FakeSystem(tmp_path, *names))
        return started[-1]

    yield start_system
    for system in started:
        system.process.kill()
        system.process.communicate()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_part_that_dies_is_started_again(start: Start) -> None:
    system = start("first", "second")
    pid = system.wait_for("first")
    os.kill(pid, signal.SIGKILL)
    new_pid = system.wait_for("first", restarts=1)
    assert new_pid != pid
    assert system.part("second")["restarts"] == 0
    output, _ = system.end(signal.SIGTERM)
    assert "first ended (signal SIGKILL), starting it again in 1 s" in output
    assert "first is up again" in output


def test_each_death_in_a_row_doubles_the_wait_up_to_thirty_seconds(tmp_path: Path) -> None:
    watched = Watched(Part(name="gone", command=("false",)), tmp_path / "gone.log")
    waits_s = []
    for _ in range(7):
        watched.start()
        assert watched.running is not None
        watched.running.wait(timeout_s=5)
        waits_s.append(watched.bury())
    assert waits_s == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_every_part_in_reverse_order(
    start: Start, number: signal.Signals
) -> None:
    system = start("first", "second")
    pids = [system.wait_for("first"), system.wait_for("second")]
    _, elapsed_s = system.end(number)
    assert system.process.returncode == 0
    assert elapsed_s < 5
    assert not any(is_alive(pid) for pid in pids)
    logs = system.data_dir / "logs"
    assert [(logs / f"{name}.log").read_text() for name in ("first", "second")] == (
        ["asked to stop\n"] * 2
    )
    ended = [(logs / f"{name}.log").stat().st_mtime_ns for name in ("second", "first")]
    assert ended == sorted(ended)
    assert system.part("first")["state"] == "stopped"


def test_a_part_that_does_not_listen_is_ended_by_force(start: Start) -> None:
    system = start("deaf")
    pid = system.wait_for("deaf")
    _, elapsed_s = system.end(signal.SIGTERM)
    assert 1 <= elapsed_s < 5
    assert not is_alive(pid)


def test_what_a_part_started_itself_ends_with_it(start: Start) -> None:
    system = start("mother")
    mother = system.wait_for("mother")
    child = wait_until(lambda: children_of(mother), what="the child runs")[0]
    system.end(signal.SIGTERM)
    wait_until(lambda: not is_alive(child), what="the child is gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans by itself")
def test_killing_the_supervisor_itself_leaves_no_part_behind(start: Start) -> None:
    system = start("first", "deaf")
    pids = [system.wait_for("first"), system.wait_for("deaf")]
    system.end(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), what="all parts are gone")


def test_a_part_that_does_not_come_up_is_told_with_the_end_of_its_log(start: Start) -> None:
    system = start("first", "broken")
    output = system.process.communicate(timeout=20)[0]
    assert system.process.returncode == 1
    assert "broken did not come up: exit code 3" in output
    assert "the reason it broke" in output
    assert system.part("first")["state"] == "stopped"


def test_a_log_over_its_limit_starts_anew_and_the_old_one_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("x" * 101)
    with log.open("a") as writer:
        rotate(log, limit_bytes=100)
        writer.write("goes on")
    assert log.read_text() == "goes on"
    assert (tmp_path / "web.log.1").read_text() == "x" * 101
