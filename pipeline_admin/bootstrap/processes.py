"""One running process of a part: start it, see whether it lives, stop it, leave nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline_admin.bootstrap.parts import Part

LOG_LIMIT_BYTES = 10 * 1024 * 1024
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


def _die_with_parent(parent_pid: int) -> None:
    """In the child: ask Linux for SIGKILL when the parent ends, even if that was killed itself."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the call above
        os._exit(1)


class RunningPart:
    """The process of one part. Start it from the main thread: Linux ties its life to the thread."""

    def __init__(self, part: Part, log_path: Path) -> None:
        self.part = part
        self.log_path = log_path
        self.started_at = time.time()
        self.popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        rotate(self.log_path)
        parent_pid = os.getpid()
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                self.part.command,
                cwd=self.part.cwd,
                env={**os.environ, **self.part.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Own session: Ctrl-C in the terminal reaches only the supervisor, which then
                # stops the parts in order.
                start_new_session=True,
                preexec_fn=lambda: _die_with_parent(parent_pid),
            )

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.popen.poll() is None

    def wait_until_ready(self) -> bool:
        """Whether the part came up within its time; False also when it died on the way."""
        deadline = time.monotonic() + self.part.ready_timeout_s
        while time.monotonic() < deadline and self.is_alive:
            if self.part.is_ready():
                return self.is_alive
            time.sleep(POLL_S)
        return False

    def ask_to_stop(self) -> None:
        """Send the part's stop signal, and return at once."""
        if self.is_alive:
            self.popen.send_signal(self.part.stop_signal)

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop the part: politely for as long as it may take, then its whole group by force."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(self.part.stop_timeout_s if timeout_s is None else timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the process and all it started, now. Nothing happens if they ended already."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()

    def end_of_log(self, lines: int = 15) -> str:
        """The last lines that the part wrote."""
        text = self.log_path.read_bytes()[-20_000:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def rotate(log_path: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Keep the log bounded: over the limit it goes to `.1`. The writer appends, so it goes on."""
    if not log_path.exists() or log_path.stat().st_size <= limit_bytes:
        return
    shutil.copyfile(log_path, f"{log_path}.1")
    os.truncate(log_path, 0)
