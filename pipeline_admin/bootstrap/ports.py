"""Which local TCP ports are free, and which ones a data folder keeps."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from pathlib import Path

from pipeline_admin.bootstrap.stored_settings import read_json, write_json

# Below the range from which Linux takes ports for outgoing connections, which could otherwise
# sit on a server's port while it is being restarted.
CHOSEN_FROM = range(20_000, 32_000)


def why_taken(port: int, host: str = "127.0.0.1") -> str | None:
    """Why no server could listen on the port right now; None when one could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: without this a port of a server that just ended looks taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
        return None


def free_ports(count: int) -> list[int]:
    """That many different ports, free on 127.0.0.1."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.choice(CHOSEN_FROM)  # noqa: S311
        if port not in chosen and why_taken(port) is None:
            chosen.append(port)
    return chosen


def kept_ports(path: Path, names: Sequence[str]) -> dict[str, int]:
    """The ports that the file remembers under these names; new ones for those taken or missing."""
    ports = {name: int(port) for name, port in read_json(path).items() if name in names}
    ports = {name: port for name, port in ports.items() if why_taken(port) is None}
    missing = [name for name in names if name not in ports]
    ports |= dict(zip(missing, free_ports(len(missing)), strict=True))
    write_json(path, ports)
    return ports
