"""Which process sends a request, and whether it is still there to read the answer."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def get_owner() -> str:
    """This process: host, process id and its start, because ids are used again."""
    pid = os.getpid()
    return f"{_get_host()}/{pid}/{_get_start(pid)}"


def is_gone(owner: str) -> bool:
    """True only where it is certain: a process of this host that has ended."""
    host, _, process = owner.rpartition("/")[0].rpartition("/")
    start = owner.rpartition("/")[2]
    if host != _get_host() or not process.isdigit():
        return False
    return _get_start(int(process)) != start


@cache
def _get_host() -> str:
    # Containers of one image may share a host name, never a boot id and a pid namespace.
    # The namespace alone has the same number on every machine that runs no containers.
    name = socket.gethostname()[:40]
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return name
    return f"{name}.{boot}.{namespace}"


def _get_start(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if _is_proc_mounted() else "unknown"
    state, *_, start = stat.rpartition(")")[2].split()[:20]
    return "" if state == "Z" else start


@cache
def _is_proc_mounted() -> bool:
    return Path("/proc/self/stat").exists()
