"""The real model on this machine answers a real question."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest

from apps.housekeeping.demo import OUTPUT_SCHEMA
from tests.e2e.system import running_system

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_demo_command_is_answered_by_the_local_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running_system(tmp_path / "demo data") as system:
        curl = json.loads(system.run("setup_demo"))["curl"]
        printed = subprocess.run(shlex.split(curl), capture_output=True, text=True, check=True)
        answer = json.loads(printed.stdout)
        event = system.wait_for_status(answer["id"], "delivered", timeout_s=120)
        jsonschema.validate(event["answer"], OUTPUT_SCHEMA)
        assert event["event_type"] == "ticket"

        again = subprocess.run(shlex.split(curl), capture_output=True, text=True, check=True)
        assert json.loads(again.stdout) == {"id": answer["id"], "duplicate": True}
        assert system.stop() == 0
    assert not [line for line in list_processes() if str(tmp_path) in line]


def list_processes() -> list[str]:
    """The command line of every process on this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines
