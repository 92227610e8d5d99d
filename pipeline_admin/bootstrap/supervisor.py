"""Keeps the parts running: starts them in order, watches, starts again, stops them in order."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType

from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.processes import POLL_S, RunningPart, rotate
from pipeline_admin.bootstrap.refusal import Refusal
from pipeline_admin.bootstrap.stored_settings import write_json

LONGEST_BACKOFF_S = 30.0
# A part that ran this long was well: its next end is a new one.
STABLE_AFTER_S = 60.0
ROTATE_EVERY_S = 10.0


class StopRequest(AbstractContextManager["StopRequest"]):
    """Ctrl-C, SIGTERM or a closed terminal, as a flag; a second one says `at once`."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> StopRequest:
        self.previous = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def is_urgent(self) -> bool:
        """Whether it was asked twice."""
        return self.count > 1


class Watched:
    """One part over all its lives."""

    def __init__(self, part: Part, log_path: Path) -> None:
        self.part = part
        self.log_path = log_path
        self.running: RunningPart | None = None
        self.state = "stopped"
        self.since = time.time()
        self.restarts = 0
        self.deaths_in_a_row = 0
        self.next_start_at = 0.0

    def enter(self, state: str) -> None:
        """Note the new state and since when."""
        self.state, self.since = state, time.time()

    def start(self) -> None:
        """Start its process; whether it answers is seen later."""
        self.running = RunningPart(self.part, self.log_path)
        self.enter("starting")

    def bury(self) -> float:
        """Clear away the dead process; gives the seconds until the next one may start."""
        assert self.running is not None
        self.running.kill()
        lived_s = self.running.age_s
        self.running = None
        self.deaths_in_a_row = 1 if lived_s > STABLE_AFTER_S else self.deaths_in_a_row + 1
        backoff_s = min(2.0 ** (self.deaths_in_a_row - 1), LONGEST_BACKOFF_S)
        self.next_start_at = time.monotonic() + backoff_s
        self.enter("waiting")
        return backoff_s

    def as_row(self) -> dict[str, object]:
        """What the page shows: name, pid (null when there is none), state, since, restarts."""
        is_alive = self.running is not None and self.running.is_alive
        return {
            "name": self.part.name,
            "pid": self.running.pid if self.running is not None and is_alive else None,
            "state": self.state,
            "since": datetime.fromtimestamp(self.since, UTC).isoformat().replace("+00:00", "Z"),
            "restarts": self.restarts,
        }


class Supervisor:
    """All parts of one data folder. Tiers stop in reverse: the queue, which all use, goes last."""

    def __init__(self, data_dir: Path, stop_request: StopRequest) -> None:
        self.data_dir = data_dir
        self.logs = data_dir / "logs"
        self.logs.mkdir(exist_ok=True)
        self.stop_request = stop_request
        self.tiers: list[list[Watched]] = []
        self.rotate_at = 0.0

    @property
    def all_parts(self) -> list[Watched]:
        """Every part, in the order of starting."""
        return [watched for tier in self.tiers for watched in tier]

    def start(self, parts: Sequence[Part]) -> None:
        """Start these parts together, as the next tier."""
        tier = [Watched(part, self.logs / f"{part.name}.log") for part in parts]
        self.tiers.append(tier)
        for watched in tier:
            watched.start()
        self.write_status()

    def wait_until_up(self, *names: str) -> None:
        """Wait for these parts, or all; Refusal with the end of its log for one that fails."""
        while starting := [one for one in self.all_parts if one.state == "starting"]:
            self.refuse_if_stopped()
            for watched in starting:
                self._look_at_start(watched)
            if names and not any(one.part.name in names for one in starting):
                return
            time.sleep(POLL_S)

    def refuse_if_stopped(self) -> None:
        """Leave the start when Ctrl-C or SIGTERM came in the middle of it."""
        if self.stop_request:
            raise Refusal("Stopped while starting.")

    def _look_at_start(self, watched: Watched) -> None:
        assert watched.running is not None
        outcome = watched.running.how_it_starts()
        if outcome == "up":
            watched.enter("running")
            print(f"  {watched.part.name:<11} up after {watched.running.age_s:.1f} s", flush=True)
            self.write_status()
        elif outcome != "starting":
            raise Refusal(
                f"{watched.part.name} did not come up: {outcome}. The end of its log "
                f"({watched.log_path}):\n{watched.running.end_of_log()}"
            )

    def watch(self) -> None:
        """Run until a stop is requested."""
        while not self.stop_request:
            changed = [watched for watched in self.all_parts if self._watch_one(watched)]
            if changed:
                self.write_status()
            self._rotate_logs()
            time.sleep(POLL_S * 4)

    def _watch_one(self, watched: Watched) -> bool:
        """Look at one part once; whether its state changed."""
        before = watched.state
        if watched.state == "waiting":
            self._start_again(watched)
        elif watched.running is not None and not watched.running.is_alive:
            self._note_death(watched, watched.running.how_it_ended())
        elif watched.state == "starting" and watched.running is not None:
            self._watch_start(watched, watched.running.how_it_starts())
        return watched.state != before

    def _start_again(self, watched: Watched) -> None:
        if time.monotonic() < watched.next_start_at:
            return
        watched.restarts += 1
        watched.start()

    def _watch_start(self, watched: Watched, outcome: str) -> None:
        if outcome == "up":
            watched.enter("running")
            say(f"{watched.part.name} is up again.")
        elif outcome != "starting":
            self._note_death(watched, outcome)

    def _note_death(self, watched: Watched, how: str) -> None:
        backoff_s = watched.bury()
        say(
            f"{watched.part.name} ended ({how}), starting it again in {backoff_s:.0f} s. "
            f"Its log: {watched.log_path}"
        )

    def _rotate_logs(self) -> None:
        if time.monotonic() < self.rotate_at:
            return
        self.rotate_at = time.monotonic() + ROTATE_EVERY_S
        for watched in self.all_parts:
            rotate(watched.log_path)

    def stop(self) -> None:
        """Stop all parts, last tier first, each politely for its time and then by force."""
        for tier in reversed(self.tiers):
            self._stop_tier([one.running for one in reversed(tier) if one.running is not None])
            for watched in tier:
                watched.enter("stopped")
            self.write_status()

    def _stop_tier(self, running: list[RunningPart]) -> None:
        for process in running:
            process.ask_to_stop()
        started = time.monotonic()
        while waiting := [
            process
            for process in running
            if process.is_alive and time.monotonic() - started < process.part.stop_timeout_s
        ]:
            if self.stop_request.is_urgent:
                break
            waiting[0].wait(POLL_S)
        for process in running:
            process.kill()

    def write_status(self) -> None:
        """Tell the page how each part is."""
        rows = [watched.as_row() for watched in self.all_parts]
        write_json(self.data_dir / "parts.json", {"parts": rows})


def say(text: str) -> None:
    """One line for the person at the terminal, with the time."""
    with suppress(OSError):  # the terminal may be closed, and the parts must stop all the same
        print(f"{datetime.now().astimezone():%H:%M:%S} {text}", file=sys.stderr, flush=True)
