"""The table of processes: how each is started, how one sees that it is up, how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_admin.bootstrap import locations
from pipeline_admin.bootstrap.readiness import http_answers, valkey_answers


def always_ready() -> bool:
    """For a part without a door of its own: it is up as soon as it runs."""
    return True


@dataclass(frozen=True)
class Part:
    """One process of the running system."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = always_ready
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = locations.BASE_DIR
    ready_timeout_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 5.0


@dataclass(frozen=True)
class TemporalPorts:
    """The four doors of the embedded Temporal server, all on 127.0.0.1."""

    grpc: int
    http: int
    ui: int
    metrics: int


def valkey(data_dir: Path) -> Part:
    """The queue: a unix socket, no TCP port, every write on disk before it is answered."""
    folder = data_dir / "valkey"
    socket_path = locations.valkey_socket(data_dir)
    for private in (folder, socket_path.parent):
        locations.make_private(private)
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": ".",
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": "64mb",
        "maxmemory-policy": "noeviction",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    return Part(
        name="valkey",
        command=(str(locations.valkey_binary()), *arguments),
        is_ready=lambda: valkey_answers(socket_path),
        cwd=folder,
        # A large append-only file is read before the first answer.
        ready_timeout_s=120.0,
    )


def valkey_url(data_dir: Path) -> str:
    """`QUEUE_URL` of the embedded Valkey."""
    return f"unix://{locations.valkey_socket(data_dir)}"


def temporal(data_dir: Path, ports: TemporalPorts) -> Part:
    """Workflows. WAL and one task-queue partition: 8 workflows/s become 60 to 130 (measured)."""
    folder = data_dir / "temporal"
    locations.make_private(folder)
    dynamic = {
        "matching.numTaskqueueReadPartitions": "1",
        "matching.numTaskqueueWritePartitions": "1",
    }
    command = [
        *(str(locations.temporal_binary()), "server", "start-dev"),
        *("--ip", "127.0.0.1", "--port", str(ports.grpc), "--http-port", str(ports.http)),
        *("--ui-port", str(ports.ui), "--ui-disable-news-fetch"),
        *("--metrics-port", str(ports.metrics)),
        *("--db-filename", "temporal.sqlite"),
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
        *("--log-level", "warn"),
    ]
    for name, value in dynamic.items():
        command += ["--dynamic-config-value", f"{name}={value}"]
    return Part(
        name="temporal",
        command=tuple(command),
        is_ready=lambda: http_answers(ports.http, "/api/v1/namespaces/default"),
        cwd=folder,
        ready_timeout_s=60.0,
    )
