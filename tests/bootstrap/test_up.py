"""`manage.py up` as a newcomer meets it, with every real part, in a path with spaces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_admin.bootstrap.locations import BASE_DIR
from pipeline_admin.bootstrap.ports import free_ports
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the process list of Linux"),
]

# What tests/conftest.py set for this process must not reach a system that starts by itself.
OF_THE_TEST_RUN = {
    *("DATA_DIR", "SECRET_KEY", "VAULT_KEYS", "DATABASE_URL", "QUEUE_URL", "TEMPORAL_ADDRESS"),
    *("ALLOWED_HOSTS", "DJANGO_SETTINGS_MODULE"),
}


class Up:
    """One run of `manage.py up`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.said = data_dir.parent / "said.txt"
        self.port = free_ports(1)[0]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", *self.arguments()],
                cwd=BASE_DIR,
                env=clean_environ(),
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def arguments(self) -> list[str]:
        """Its command line after `manage.py`."""
        return ["up", "--no-llm", "--port", str(self.port), "--data", str(self.data_dir)]

    def wait_until_up(self) -> str:
        """What it said until all was up."""
        wait_until(lambda: "Ctrl-C stops" in self.said.read_text(), 90, "up is up")
        return self.said.read_text()

    def processes(self) -> list[int]:
        """Every process on the data folder, told by its environment or where it runs."""
        return [pid for pid in all_pids() if self.owns(pid)]

    def owns(self, pid: int) -> bool:
        """Whether the process belongs to this run. (Valkey writes its title over its variables.)"""
        mark = f"DATA_DIR={self.data_dir}".encode()
        try:
            is_marked = mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return is_marked or Path(f"/proc/{pid}/cwd").readlink().is_relative_to(self.data_dir)
        except OSError:  # it ended, or is another user's
            return False


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_THE_TEST_RUN}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=BASE_DIR, env=clean_environ(), capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    started = Up(tmp_path_factory.mktemp("up") / "my own data")
    try:
        started.wait_until_up()
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def test_it_says_where_the_pages_are_and_a_password_once(up: Up) -> None:
    said = up.said.read_text()
    assert f"Pipeline Admin is running: http://127.0.0.1:{up.port}/" in said
    assert re.search(r"^Sign in as admin with the password \S{12,}$", said, re.MULTILINE)


def test_the_printed_curl_line_works_when_pasted(up: Up) -> None:
    line = re.search(r"^curl .*$", up.said.read_text(), re.MULTILINE)
    assert line is not None
    first, again = (json.loads(run("bash", "-c", line[0]).stdout) for _ in range(2))
    assert first["id"].startswith("evt_")
    assert (first["duplicate"], again) == (False, {"id": first["id"], "duplicate": True})


def test_every_part_is_shown_with_its_process(up: Up) -> None:
    rows = json.loads((up.data_dir / "parts.json").read_text())["parts"]
    names = ["valkey", "temporal", "web", "dispatcher", "worker", "celery", "beat"]
    assert [row["name"] for row in rows] == names
    assert {row["state"] for row in rows} == {"running"}
    assert {row["pid"] for row in rows} <= set(up.processes())


def test_another_command_finds_the_running_system_by_its_data_folder(up: Up) -> None:
    arguments = ("create_token", "--user", "admin", "--scope", "all", "--data", str(up.data_dir))
    made = run(sys.executable, "manage.py", *arguments)
    assert made.returncode == 0, made.stderr
    address = f"http://127.0.0.1:{up.port}/api/v1/stats/"
    answer = run("curl", "-sS", "-H", f"Authorization: Bearer {made.stdout.strip()}", address)
    assert "queue_length" in json.loads(answer.stdout)


def test_a_second_up_on_the_same_folder_is_refused_and_the_first_goes_on(up: Up) -> None:
    second = run(sys.executable, "manage.py", *up.arguments())
    assert second.returncode == 1
    assert f"is running already (process {up.process.pid})" in second.stderr
    assert up.process.poll() is None


def test_sigterm_ends_everything_within_15_s_and_the_next_start_goes_on(up: Up) -> None:
    assert len(up.processes()) >= 7
    started = time.monotonic()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=20) == 0
    assert time.monotonic() - started < 15
    assert up.processes() == []
    again = Up(up.data_dir)
    try:
        said = again.wait_until_up()
        assert "password" not in said
    finally:
        again.process.kill()
        again.process.wait()
    wait_until(lambda: not again.processes(), what="nothing is left of a killed `up`")
