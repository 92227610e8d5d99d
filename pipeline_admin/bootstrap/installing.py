"""One pip run, with its progress told in one moving line and its failure in a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from pipeline_admin.bootstrap.refusal import Refusal

KEPT_LINES = 25
TICK_S = 0.5
# Where nobody watches a terminal (CI, a file), a line now and then is enough.
PLAIN_TICK_S = 5.0


class Progress:
    """Counts packages: while pip fetches by its lines, while it unpacks by what has arrived."""

    def __init__(self, label: str, total: int, site_packages: Path) -> None:
        self.label = label
        self.total = total
        self.site_packages = site_packages
        self.present_before = self._present()
        self.fetched = 0
        self.current = "the first"
        self.is_unpacking = False
        self.started = time.monotonic()
        self.is_terminal = sys.stderr.isatty()
        self.next_at = 0.0

    def _present(self) -> int:
        return sum(1 for _ in self.site_packages.glob("*.dist-info"))

    def note(self, line: str) -> None:
        """Learn from one line of pip's."""
        if match := re.match(r"(?:Collecting|Requirement already satisfied:) ([^ =<>]+)", line):
            self.fetched += 1
            self.current = match[1]
        elif line.startswith("Installing collected packages"):
            self.is_unpacking = True

    def show(self) -> None:
        """Print where it stands, unless that was said a moment ago."""
        now = time.monotonic()
        if now < self.next_at:
            return
        self.next_at = now + (TICK_S if self.is_terminal else PLAIN_TICK_S)
        self._print(self._text(now))

    def _text(self, now: float) -> str:
        done, verb = self.fetched, f"fetching {self.current}"
        if self.is_unpacking:
            done, verb = self._present() - self.present_before, "unpacking"
        done = min(max(done, 0), self.total)
        return f"{self.label}: {done}/{self.total} {verb} ({now - self.started:.0f} s)"

    def finish(self) -> None:
        """Say how long it took."""
        elapsed_s = time.monotonic() - self.started
        self._print(f"{self.label}: {self.total} packages installed in {elapsed_s:.0f} s")
        if self.is_terminal:
            print(file=sys.stderr)

    def _print(self, text: str) -> None:
        if self.is_terminal:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def run_pip(pip: list[str], requirements: Path, *, no_deps: bool, site_packages: Path) -> None:
    """Install the pinned and hashed file, or raise Refusal with the end of what pip said."""
    total = len(re.findall(r"^[A-Za-z0-9].*==", requirements.read_text(), re.MULTILINE))
    progress = Progress(f"Installing {requirements.name}", total, site_packages)
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    process = subprocess.Popen(
        [*pip, *_arguments(requirements, no_deps)],
        # A user's own pip settings for other places would point it away from the environment.
        env={**os.environ, "PIP_USER": "0", "PIP_TARGET": "", "PIP_REQUIRE_VIRTUALENV": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reader = threading.Thread(target=_read, args=(process, kept, progress), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            progress.show()
            time.sleep(0.2)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise Refusal("Stopped while installing: the next start goes on with it.") from None
    reader.join(timeout=5)
    if process.returncode != 0:
        raise Refusal(_failure(requirements, kept))
    progress.finish()


def _arguments(requirements: Path, no_deps: bool) -> list[str]:
    arguments = ["install", "--require-hashes", "--no-input", "--disable-pip-version-check"]
    arguments += ["--progress-bar", "off", "--no-deps" if no_deps else "--prefer-binary"]
    return [*arguments, "-r", str(requirements)]


def _read(process: subprocess.Popen[str], kept: deque[str], progress: Progress) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        kept.append(line.rstrip())
        progress.note(line.strip())


def _failure(requirements: Path, kept: deque[str]) -> str:
    end = "\n".join(f"  {line}" for line in kept)
    return (
        f"pip could not install {requirements.name}. The end of what it said:\n{end}\n"
        "Check the connection to the package index (or the proxy), the free space on the disk, "
        "and start again: what is done already is kept."
    )
