"""What `up` can't do, it says in a sentence, before it starts or changes anything."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_admin.bootstrap import data_folder, up
from pipeline_admin.bootstrap.locations import BASE_DIR
from pipeline_admin.bootstrap.ports import kept_ports
from pipeline_admin.bootstrap.refusal import Refusal
from tests.waiting import wait_until

HOLD = (
    "import sys, time; from pathlib import Path; from pipeline_admin.bootstrap import data_folder\n"
    "with data_folder.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(Refusal) as refused:
        up.main(["--port", str(taken_port), "--data", str(tmp_path)])
    assert f"Port {taken_port} cannot be used (Address already in use)" in str(refused.value)
    assert f"--port {taken_port + 1}" in str(refused.value)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match=r"file/data cannot be written \(Not a directory\)"):
        up.main(["--data", str(tmp_path / "file" / "data")])


def test_a_second_up_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=BASE_DIR, stdout=subprocess.PIPE
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(Refusal, match=rf"is running already \(process {first.pid}\)"):
            up.main(["--data", str(tmp_path)])
    finally:
        first.kill()
        first.communicate()


def test_a_killed_up_does_not_lock_the_next_one_out(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=BASE_DIR, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    assert first.stdout.readline() == b"held\n"
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    with data_folder.held(tmp_path):
        assert (tmp_path / "up.lock").read_text() == str(os.getpid())


def test_ports_stay_the_same_from_start_to_start_unless_one_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = kept_ports(path, ["llm", "temporal_grpc"])
    assert kept_ports(path, ["llm", "temporal_grpc"]) == first
    with socket.create_server(("127.0.0.1", first["llm"])):
        second = kept_ports(path, ["llm", "temporal_grpc"])
    assert second["llm"] != first["llm"]
    assert second["temporal_grpc"] == first["temporal_grpc"]


def test_wait_until_names_what_did_not_come_true() -> None:
    with pytest.raises(AssertionError, match=r"the answer did not come true within 0\.05 s"):
        wait_until(lambda: False, timeout_s=0.05, what="the answer")
