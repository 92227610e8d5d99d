"""Whether the process that sent a request is still there to read the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from apps.llm import owner as owner_module
from apps.llm.owner import get_owner, is_gone
from tests.waiting import wait_until

SCRIPT = "from apps.llm.owner import get_owner; print(get_owner(), flush=True); input()"


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    """Another process of this host."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def read_owner(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_this_process_is_there() -> None:
    assert get_owner() == get_owner()
    assert not is_gone(get_owner())


def test_another_process_is_there_until_it_is_killed(worker: subprocess.Popen[str]) -> None:
    owner = read_owner(worker)
    assert not is_gone(owner)
    worker.kill()
    wait_until(lambda: is_gone(owner), what="the end of the process")


def test_a_paused_process_is_there(worker: subprocess.Popen[str]) -> None:
    owner = read_owner(worker)
    os.kill(worker.pid, signal.SIGSTOP)
    assert not is_gone(owner)


def test_another_process_under_the_same_number_is_another() -> None:
    host, pid, start = get_owner().split("/")
    assert is_gone(f"{host}/{pid}/{int(start) - 1}")


@pytest.mark.parametrize("owner", ["elsewhere/1/1", "", "x", "a/b/c"])
def test_of_a_process_elsewhere_nothing_is_known(owner: str) -> None:
    assert not is_gone(owner)


def test_a_process_of_an_equally_named_machine_is_not_taken_for_gone() -> None:
    boot = owner_module.BOOT_ID.read_text().strip()
    theirs = get_owner().replace(boot, "0" * len(boot))
    host, _, start = theirs.rpartition("/")
    assert theirs != get_owner()
    assert not is_gone(f"{host.rpartition('/')[0]}/999999/{start}")
    assert is_gone(f"{get_owner().rpartition('/')[0].rpartition('/')[0]}/999999/{start}")
