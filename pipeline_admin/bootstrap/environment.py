"""The virtual environment `.venv`: made once, filled with the pinned requirements, then offline.

A stamp in it holds the hash of every installed requirements file. While they match, nothing is
asked of the network or of pip.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_admin.bootstrap.installing import run_pip
from pipeline_admin.bootstrap.locations import BASE_DIR, VENV_DIR, VENV_PYTHON
from pipeline_admin.bootstrap.refusal import Refusal

RUNTIME = "requirements.txt"
DEVELOPMENT = "requirements-dev.txt"  # a superset of RUNTIME
LOCAL_LLM = "requirements-llm.txt"
STAMP = VENV_DIR / "installed.json"


def ensure_installed(*, for_tests: bool = False, with_llm: bool = False) -> None:
    """Make the virtual environment match the requirements files, or raise Refusal."""
    wanted = [DEVELOPMENT, LOCAL_LLM] if for_tests else [RUNTIME, LOCAL_LLM][: 1 + with_llm]
    if not _missing(wanted):
        return
    with _one_at_a_time():
        missing = _missing(wanted)  # another process may have installed them while we waited
        if missing:
            _install(missing)


def _missing(wanted: list[str]) -> list[str]:
    if not _is_usable():
        return wanted
    stamp = _read_stamp()
    return [name for name in wanted if stamp.get(name) != _hash(name)]


def _is_usable() -> bool:
    """Whether its interpreter starts, and is the one that the packages were installed for.

    A distribution's upgrade can put another Python under the same name, and then nothing that
    was installed is found any more.
    """
    version = _venv_version()
    return version is not None and _read_stamp().get("python", version) == version


def _hash(name: str) -> str:
    return hashlib.sha256((BASE_DIR / name).read_bytes()).hexdigest()


def _read_stamp() -> dict[str, str]:
    """What is installed: {file name: hash}. Empty when that is unknown."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def _venv_version() -> str | None:
    """`3.11` as the environment's own interpreter says it; None when it does not start."""
    try:
        answer = subprocess.run(
            [VENV_PYTHON, "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two commands started together must not install into the same folder at once."""
    checkout = os.open(BASE_DIR, os.O_RDONLY)
    try:
        try:
            fcntl.flock(checkout, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another command is installing: waiting for it …", file=sys.stderr, flush=True)
            fcntl.flock(checkout, fcntl.LOCK_EX)
        yield
    finally:
        os.close(checkout)


def _install(names: list[str]) -> None:
    if not os.access(BASE_DIR, os.W_OK):
        raise Refusal(
            f"The packages must be installed into {VENV_DIR}, and this user may not write to "
            f"{BASE_DIR}. Run the command once as the folder's owner, or copy the folder."
        )
    if not _is_usable():
        _make_venv()
    pip = _pip_command()
    for name in names:
        # Before pip changes anything, so that an interrupted install is repeated. What the larger
        # file shares with the smaller one has to be checked again too.
        _write_stamp(without={name, DEVELOPMENT} if name == RUNTIME else {name})
        run_pip(pip, BASE_DIR / name, no_deps=name == LOCAL_LLM, site_packages=_site_packages())
        _write_stamp(installed=[RUNTIME, DEVELOPMENT] if name == DEVELOPMENT else [name])


def _write_stamp(installed: list[str] | None = None, without: set[str] | None = None) -> None:
    stamp = {name: digest for name, digest in _read_stamp().items() if name not in (without or ())}
    stamp |= {"python": _venv_version() or ""}
    stamp |= {name: _hash(name) for name in installed or ()}
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(stamp, indent=1))
    partial.replace(STAMP)


def _make_venv() -> None:
    print(f"Making {VENV_DIR} …", file=sys.stderr, flush=True)
    shutil.rmtree(VENV_DIR, ignore_errors=True)
    try:
        # Without pip: Debian leaves ensurepip out of its Python, and pip can install from outside.
        venv.EnvBuilder(with_pip=False, symlinks=True).create(VENV_DIR)
    except OSError as error:
        raise Refusal(f"{VENV_DIR} cannot be made: {error.strerror}.") from error


def _site_packages() -> Path:
    return VENV_DIR / "lib" / f"python{_venv_version()}" / "site-packages"


def _pip_command() -> list[str]:
    """A pip that installs into the environment: this Python's own, else one unpacked into it."""
    outside = [sys.executable, "-m", "pip", "--python", str(VENV_PYTHON)]
    inside = [str(VENV_PYTHON), "-m", "pip"]
    if _works([*outside, "--version"]):
        return outside
    if _works([*inside, "--version"]) or _works([str(VENV_PYTHON), "-m", "ensurepip"]):
        return inside
    raise Refusal(
        f"{sys.executable} has neither pip nor ensurepip. Install one of them (on Debian and "
        "Ubuntu: apt install python3-pip, or python3-venv) and start again."
    )


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
