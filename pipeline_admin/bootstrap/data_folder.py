"""The data folder: one `up` at a time, and writable."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_admin.bootstrap.refusal import Refusal


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Make the folder and keep it for this process alone, or raise Refusal.

    The lock goes with the process, however that ends; no child inherits it.
    """
    _make(data_dir)
    path = data_dir / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(
                f"The system in {data_dir} is running already ({_holder(path)}). Stop that one "
                "with Ctrl-C, or start a second system on its own folder: "
                "manage.py up --data OTHER --port 8001."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    pid = path.read_text().strip()
    return f"process {pid}" if pid else "just starting"


def _make(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Refusal(
            f"The data folder {data_dir} cannot be written ({error.strerror}). Choose another "
            "with --data DIR, or make this one yours."
        ) from error
