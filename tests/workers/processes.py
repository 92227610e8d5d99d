"""Our parts as processes of their own, on the test's database and servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from pipeline_admin.bootstrap.processes import tie_to_this_process
from pipeline_admin.env import BASE_DIR
from tests.fixtures.fake_llm import FakeLLM

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


@pytest.fixture
def start_process(
    servers: None, fake_llm: FakeLLM, settings: Any, tmp_path: Path
) -> Iterator[Start]:
    """Starts `python <arguments>`, with further environment variables by keyword."""
    started: list[Process] = []
    env = os.environ | {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": get_database_url(tmp_path),
        "QUEUE_URL": settings.QUEUE_URLS[0],
        "TEMPORAL_ADDRESS": settings.TEMPORAL_ADDRESS,
        "TEMPORAL_TASK_QUEUE": settings.TEMPORAL_TASK_QUEUE,
        "OPENAI_BASE_URL": fake_llm.base_url,
        "OPENAI_API_KEY": "test-key",
        "LLM_BREAKER_FAILURES": "0",
        "LLM_ADAPTIVE": "0",
    }

    def start(*arguments: str, **variables: str) -> Process:
        command = [sys.executable, *arguments]
        tie = tie_to_this_process()
        process = subprocess.Popen(command, cwd=BASE_DIR, env=env | variables, preexec_fn=tie)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def get_database_url(data_dir: Path) -> str:
    """The test's database, for another process: SQLite's file, under the name it looks for."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        (data_dir / "db.sqlite3").symlink_to(database["NAME"])
        return ""
    user, host, port = database["USER"], database["HOST"], database["PORT"]
    return f"postgres://{user}@{host}:{port}/{database['NAME']}"
