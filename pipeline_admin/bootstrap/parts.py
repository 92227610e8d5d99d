"""The table of processes: how each is started, how one sees that it is up, how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline_admin.bootstrap import locations
from pipeline_admin.bootstrap.readiness import http_answers, valkey_answers

# Stopping all takes their sum at most: first those that work, then what they need, then the queue.
STOP_WORKERS_S, STOP_SERVERS_S, STOP_QUEUE_S = 8.0, 3.0, 3.0
# Django and its packages take about two seconds to load; a part that can't start ends before that.
LOADED_AFTER_S = 3.0


def always_ready() -> bool:
    """For a part without a door of its own: it is up while it runs."""
    return True


@dataclass(frozen=True)
class Part:
    """One process of the running system."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = always_ready
    cwd: Path = locations.BASE_DIR
    # A part without a door counts as up once it has lived this long.
    up_after_s: float = 0.0
    ready_timeout_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = STOP_WORKERS_S


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
        "auto-aof-rewrite-min-size": "256mb",
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
        stop_timeout_s=STOP_QUEUE_S,
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
        stop_timeout_s=STOP_SERVERS_S,
    )


def local_llm(port: int) -> Part:
    """The small model, OpenAI-compatible."""
    return Part(
        name="llm",
        command=_python("-m", "pipeline_admin.bootstrap.local_llm", "--port", str(port)),
        is_ready=lambda: http_answers(port, "/health"),
        ready_timeout_s=120.0,
        stop_timeout_s=STOP_SERVERS_S,
    )


def web(host: str, port: int) -> Part:
    """Ingest, pages and API."""
    # A server on all addresses is asked on the one that is surely there.
    asked = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
    return Part(
        name="web",
        command=_manage("web", "--host", host, "--port", str(port)),
        is_ready=lambda: http_answers(port, "/healthz", asked),
        ready_timeout_s=60.0,
    )


def event_worker(name: str, metrics_port: int | None) -> Part:
    """The dispatcher or the worker; None where its metrics port is someone else's choice."""
    if metrics_port is None:
        return Part(name=name, command=_manage(name), up_after_s=LOADED_AFTER_S)
    return Part(
        name=name,
        command=_manage(name),
        is_ready=lambda: http_answers(metrics_port, "/metrics"),
        ready_timeout_s=60.0,
    )


def celery_parts(data_dir: Path) -> list[Part]:
    """Celery's worker and beat, which have no door."""
    celery = ("-m", "celery", "-A", "pipeline_admin", "--quiet")
    # Threads: one process, so nothing is left when it is killed, and one copy of Django in memory.
    pool = ("--pool", "threads", "--concurrency", "2", "--without-mingle", "--without-gossip")
    schedule = ("--schedule", str(data_dir / "celerybeat-schedule"), "--pidfile", "")
    commands = {
        "celery": _python(*celery, "worker", "--loglevel", "INFO", *pool),
        "beat": _python(*celery, "beat", "--loglevel", "INFO", *schedule),
    }
    return [
        Part(name=name, command=command, up_after_s=LOADED_AFTER_S)
        for name, command in commands.items()
    ]


def _python(*arguments: str) -> tuple[str, ...]:
    return (str(locations.VENV_PYTHON), *arguments)


def _manage(*arguments: str) -> tuple[str, ...]:
    return _python(str(locations.BASE_DIR / "manage.py"), *arguments)
