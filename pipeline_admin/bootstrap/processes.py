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
from collections.abc import Callable
from pathlib import Path

from pipeline_admin.bootstrap.parts import Part

LOG_LIMIT_BYTES = 10 * 1024 * 1024
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


def tie_to_this_process() -> Callable[[], None]:
    """For `preexec_fn`: the child gets SIGKILL when this process ends, even if that was killed."""
    parent_pid = os.getpid()

    def tie() -> None:
        if not sys.platform.startswith("linux"):
            return
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it ended before the call above
            os._exit(1)

    return tie


class RunningPart:
    """The process of one part. Start it from the main thread: Linux ties its life to the thread."""

    def __init__(self, part: Part, log_path: Path) -> None:
        self.part = part
        self.log_path = log_path
        self.started_at = time.time()
        self.popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        rotate(self.log_path)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                self.part.command,
                cwd=self.part.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Own session: Ctrl-C in the terminal reaches only the supervisor, which then
                # stops the parts in order.
                start_new_session=True,
                preexec_fn=tie_to_this_process(),
            )

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.popen.poll() is None

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.time() - self.started_at

    def how_it_starts(self) -> str:
        """`up`, `starting`, or what went wrong."""
        if not self.is_alive:
            return self.how_it_ended()
        if self.age_s >= self.part.up_after_s and self.part.is_ready():
            return "up"
        if self.age_s > self.part.ready_timeout_s:
            return f"no answer within {self.part.ready_timeout_s:.0f} s"
        return "starting"

    def how_it_ended(self) -> str:
        """`exit code 1`, or `signal SIGKILL`."""
        code = self.popen.returncode
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def wait_until_up(self) -> bool:
        """Whether the part came up within its time."""
        while (outcome := self.how_it_starts()) == "starting":
            time.sleep(POLL_S)
        return outcome == "up"

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, but no longer than this."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout_s)

    def ask_to_stop(self) -> None:
        """Send the part's stop signal, and return at once."""
        if self.is_alive:
            self.popen.send_signal(self.part.stop_signal)

    def stop(self) -> None:
        """Stop the part: politely for as long as it may take, then its whole group by force."""
        self.ask_to_stop()
        self.wait(self.part.stop_timeout_s)
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
