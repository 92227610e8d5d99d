"""`manage.py web` as an operator starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.bootstrap.processes import tie_to_this_process
from pipeline_admin.bootstrap.readiness import http_answers
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_with_one_worker_and_with_several(tmp_path: Path, workers: int) -> None:
    (tmp_path / "staticfiles").mkdir()
    port = free_ports(1)[0]
    command = [sys.executable, "manage.py", "web", f"--port={port}", f"--workers={workers}"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": ""},
        preexec_fn=tie_to_this_process(),
    )
    try:
        wait_until(lambda: http_answers(port, "/healthz"), 60, "an answer")
    finally:
        process.terminate()
        process.wait(20)
