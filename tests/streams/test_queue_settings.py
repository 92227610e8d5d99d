"""What QUEUE_URL and QUEUE_DRAIN_URL are read as, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from pipeline_admin.env import BASE_DIR

SHOW = """
from pipeline_admin import settings
print(settings.QUEUE_URLS, settings.QUEUE_DRAIN_URLS, settings.BROKER_URL)
"""


def read(**environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SHOW]
    given = os.environ | environ
    return subprocess.run(
        command, cwd=BASE_DIR, env=given, capture_output=True, text=True, check=False
    )


def test_the_broker_is_the_first_shard_without_its_name() -> None:
    answer = read(QUEUE_URL="redis://one/0#a, redis://two/0", QUEUE_DRAIN_URL="redis://three/0")
    urls, drained = ["redis://one/0#a", "redis://two/0"], ["redis://three/0"]
    assert answer.stdout == f"{urls} {drained} redis://one/0\n"


def test_a_server_of_an_unknown_scheme_stops_the_start_without_its_password() -> None:
    for name in ("QUEUE_URL", "QUEUE_DRAIN_URL"):
        answer = read(**{name: "http://:secret@one/0"})
        assert answer.returncode == 1
        assert f"{name} has an unknown scheme" in answer.stderr
        assert "secret" not in answer.stderr
