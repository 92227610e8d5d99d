"""A real queue server on a disk that loses what was not synced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_admin.bootstrap import parts
from tests.fixtures.servers import REDIS, Server
from tests.ingest.conftest import start_hooks
from tests.power import disk
from tests.power.disk import Disk

__all__ = ["start_hooks"]

# A managed server's way to keep its settings from us; the harness uses it to lie about them.
HIDE_SETTINGS = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-config")


@pytest.fixture(scope="session")
def unsynced_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded into a process whose disk is watched."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    return disk.build(tmp_path_factory.mktemp("unsynced"))


class PoweredServer(Server):
    """A queue server and its disk."""

    disk: Disk


StartPowered = Callable[..., PoweredServer]


@pytest.fixture
def start_powered(tmp_path: Path, unsynced_library: Path) -> Iterator[StartPowered]:
    """Starts a queue server, `valkey` or `redis`, that fsyncs `always` or `everysec`."""
    started: list[PoweredServer] = []

    def start(kind: str, appendfsync: str) -> PoweredServer:
        part = parts.valkey(tmp_path)
        watched = Disk(part.cwd, tmp_path / "notes", unsynced_library)
        binary, *flags = part.command
        flags[flags.index("--appendfsync") + 1] = appendfsync
        if kind == "redis":
            if not REDIS.exists():
                pytest.skip("needs Debian's redis-server")
            binary = str(REDIS)
        environ = [f"{name}={value}" for name, value in watched.environ.items()]
        command = ("/usr/bin/env", *environ, binary, *flags, *HIDE_SETTINGS)
        part = replace(part, command=command)
        server = PoweredServer(part, tmp_path / "server.log", parts.valkey_url(tmp_path))
        server.disk = watched
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()
