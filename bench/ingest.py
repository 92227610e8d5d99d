"""Ingest against its floor, in one run: `python -m bench.ingest`.

Ingest: `manage.py web` and a Valkey that fsyncs every event before it answers. Floor: uvicorn
with the same settings and an application that only reads the same body and computes its HMAC.
Runs alternate, so that a machine that gets slower or faster meets both.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load
from pipeline_admin.bootstrap import parts
from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.bootstrap.processes import RunningPart

ROOT = Path(__file__).resolve().parent.parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
MAKE_SOURCE = f"""
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.sources.models import Secret, Source
inbox = Destination.objects.create(slug="inbox", name="Inbox", kind="inbox")
pipeline = Pipeline.objects.create(slug="bench", name="Bench")
pipeline.publish(prompt="{{{{ data }}}}", destination=inbox)
source = Source.objects.create(
    slug="bench", name="Bench", scheme="standard-webhooks", pipeline=pipeline)
Secret.objects.create(source=source, value="{SECRET}")
"""


@dataclass(frozen=True)
class Figures:
    """One run of one server."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]  # by process, for each event
    statuses: dict[int, int]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder, ExitStack() as stack:
        data_dir = Path(folder)
        _set_environ(data_dir)
        ours, rest = _share_cores(options.pin)
        valkey = _start(stack, parts.valkey(data_dir), data_dir, rest)
        _manage("migrate", "--verbosity", "0")
        _manage("shell", "--verbosity", "0", "--command", MAKE_SOURCE)
        floor_port, web_port = free_ports(2)
        floor = _start(stack, _floor(floor_port), data_dir, ours)
        web = _start(stack, _web(web_port, options.workers), data_dir, ours)
        os.sched_setaffinity(0, rest)
        runs: dict[str, list[Figures]] = {"floor": [], "ingest": []}
        for number in range(options.rounds + 1):
            for name, port, processes in (
                ("floor", floor_port, {"web": floor}),
                ("ingest", web_port, {"web": web, "valkey": valkey}),
            ):
                figures = _measure(name, port, processes, options)
                _drain(data_dir)
                if number:  # the first round warms up
                    runs[name].append(figures)
                    _print(f"{name} {number}", figures)
        per_s = _print_verdict(runs)
        parts_of_ingest = {"web": web, "valkey": valkey}
        figures = _measure("half", web_port, parts_of_ingest, options, per_s / 2)
        _print("half max", figures)
        _soak(web_port, parts_of_ingest, options, data_dir)


def _drain(data_dir: Path) -> None:
    """Empty the stream, as a dispatcher would have, and let the server finish its rewriting."""
    # Not before _set_environ: Django's settings are read then.
    from apps.streams.clients import get_client
    from apps.streams.entries import STREAM

    client: Any = get_client(parts.valkey_url(data_dir))
    client.xtrim(STREAM, maxlen=0, approximate=False)
    while client.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.1)


def _soak(
    port: int, processes: dict[str, RunningPart], options: argparse.Namespace, data_dir: Path
) -> None:
    """Whether memory stays flat: the resident size of ingest after each share of the events."""
    sizes = [_rss_mb(processes["web"].pid)]
    for _ in range(options.soak // options.events):
        _measure("soak", port, processes, options)
        _drain(data_dir)
        sizes.append(_rss_mb(processes["web"].pid))
    listed = " ".join(f"{size:.1f}" for size in sizes)
    print(f"memory of ingest in MB, every {options.events:,} events: {listed}")


def _rss_mb(pid: int) -> float:
    """Resident memory of a process and the children it has (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return own + sum(_rss_mb(int(child)) for child in children)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=30_000, help="events of one run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--body-bytes", type=int, default=2048)
    parser.add_argument("--generators", type=int, default=1, help="processes that send")
    parser.add_argument("--workers", type=int, default=1, help="web processes of ingest")
    parser.add_argument(
        "--no-pin", dest="pin", action="store_false", help="leave the cores to the kernel"
    )
    parser.add_argument(
        "--soak", type=int, default=210_000, help="events that memory is watched for"
    )
    return parser.parse_args()


def _set_environ(data_dir: Path) -> None:
    """For the processes that this one starts."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "pipeline_admin.settings",
        "DATA_DIR": str(data_dir),
        "QUEUE_URL": parts.valkey_url(data_dir),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "VAULT_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "LOG_LEVEL": "WARNING",
    }


def _manage(*arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, check=True)


def _web(port: int, workers: int) -> Part:
    command = (sys.executable, "manage.py", "web", "--port", str(port), "--workers", str(workers))
    return Part(name="web", command=command, is_ready=lambda: _is_open(port), cwd=ROOT)


def _floor(port: int) -> Part:
    flags = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header")
    command = (sys.executable, "-m", "uvicorn", "bench.floor:application", "--port", str(port))
    return Part(
        name="floor",
        command=(*command, *flags, "--log-level", "warning"),
        is_ready=lambda: _is_open(port),
        cwd=ROOT,
    )


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _share_cores(pin: bool) -> tuple[set[int], set[int]]:
    """For the server that is measured, and for what works for it: Valkey and the sender.

    Left to itself the kernel puts them on one core for a while, and every figure is luck.
    """
    cores = os.sched_getaffinity(0)
    if not pin or len(cores) < 2:
        return cores, cores
    rest = set(sorted(cores)[-(len(cores) // 2) :])
    return cores - rest, rest


def _start(stack: ExitStack, part: Part, data_dir: Path, cores: set[int]) -> RunningPart:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # a child inherits it
    process = RunningPart(part, data_dir / f"{part.name}.log")
    os.sched_setaffinity(0, before)
    stack.callback(process.stop)
    if not process.wait_until_up():
        raise SystemExit(f"{part.name} did not come up:\n{process.end_of_log()}")
    return process


def _measure(
    name: str,
    port: int,
    processes: dict[str, RunningPart],
    options: argparse.Namespace,
    per_s: float = 0.0,
) -> Figures:
    run = f"{name}{time.time_ns() // 1_000_000}"
    size, lines = options.body_bytes, options.connections
    what = load.Load(port, "/hooks/bench", SECRET, options.events, lines, size, run, per_s)
    before = {part: _cpu_s(process.pid) for part, process in processes.items()}
    result = load.run(what, options.generators)
    latencies, done = sorted(result.latencies_ms), len(result.latencies_ms)
    cpu_us = {
        part: (_cpu_s(process.pid) - before[part]) / done * 1e6
        for part, process in processes.items()
    }
    cpu_us["sender"] = result.cpu_s / done * 1e6
    return Figures(
        done / result.seconds,
        latencies[done // 2],
        latencies[done * 99 // 100],
        cpu_us,
        result.statuses,
    )


def _cpu_s(pid: int) -> float:
    """User and system time of a process and the children it has (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_cpu_s(int(child)) for child in children)


def _print(title: str, figures: Figures) -> None:
    cpu = ", ".join(f"{part} {value:.0f}" for part, value in figures.cpu_us.items())
    print(
        f"{title:9} {figures.per_s:8,.0f}/s  p50 {figures.p50_ms:5.2f} ms  "
        f"p99 {figures.p99_ms:6.2f} ms  CPU µs/event: {cpu}  answers: {figures.statuses}"
    )


def _print_verdict(runs: dict[str, list[Figures]]) -> float:
    """Prints the ratio; the median rate of ingest."""

    def median(name: str, get: Callable[[Figures], float]) -> float:
        return statistics.median(get(figures) for figures in runs[name])

    per_s = {name: median(name, lambda figures: figures.per_s) for name in runs}
    print(f"median: floor {per_s['floor']:,.0f}/s, ingest {per_s['ingest']:,.0f}/s", end="")
    print(f", ratio {per_s['ingest'] / per_s['floor']:.2f}")
    return per_s["ingest"]


if __name__ == "__main__":
    main()
