"""What the workflow and its activities say to each other: plain data, ids instead of bodies."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MAX_ATTEMPTS = 5
BACKOFF_BASE_S = 1.0  # doubles with each failure: 1, 2, 4, 8
BACKOFF_JITTER = 0.3
RETRY_AFTER_MAX_S = 3600.0  # whatever a server asks for, an event is tried again within the hour

# What this worker understands of a pipeline's version, which says what it needs: an older worker
# lets it wait for a newer one, instead of leaving out what it does not know. Raise it with each
# feature of a version that changes who is asked, what is sent, paid or delivered, and give the
# feature a row in apps/pipelines/needs.py.
UNDERSTANDS = 3
TOO_OLD = "worker_too_old"
TOO_OLD_WAIT_S = 15.0

WORKFLOW = "event"
ASK = "ask"
DELIVER = "deliver"
BURY = "bury"
NOTE_CRASH = "note_crash"
SETTLE = "settle"
DECIDED = "decided"  # a signal: somebody has decided on the answer; what, the database says

# What the workflow does, in order: filter, transform, prompt and model; then the destination.
STEPS = (ASK, DELIVER)


class Verdict(StrEnum):
    """How a step ended."""

    DONE = "done"
    FILTERED = "filtered"
    FAILED = "failed"  # uses an attempt; try again
    WAIT = "wait"  # rate limit, open circuit, database away: uses no attempt
    NEVER = "never"  # permanent: dead letter at once
    HELD = "held"  # waits for a person
    APPROVAL = "approval"  # the answer waits for a person's yes, and the workflow with it
    PARKED = "parked"  # waits for hours, without a workflow: another is started when it may go on
    GONE = "gone"  # the event has moved on (other run, discarded): stop quietly
    DEAD = "dead"  # buried: only the workflow says so, no step


@dataclass(frozen=True)
class EventRun:
    """One run of one event: the workflow's input. It begins at `step`, after so many failures."""

    event_id: str  # 32 hex digits
    run: int
    step: str = ASK
    failures: int = 0
    backoff_base_s: float = field(default_factory=lambda: BACKOFF_BASE_S)

    @property
    def workflow_id(self) -> str:
        """Deterministic, so that starting twice is starting once."""
        return f"evt_{self.event_id}-r{self.run}"


@dataclass(frozen=True)
class StepInput:
    """One attempt of one step."""

    event_id: str
    run: int
    attempt: int  # 1..MAX_ATTEMPTS


@dataclass(frozen=True)
class StepResult:
    """How the attempt ended. `step` and `code` are machine words, never a text from outside."""

    verdict: Verdict
    step: str = ""
    code: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class CrashInput:
    """An attempt that ended without a result: its worker died, or it has a bug."""

    event_id: str
    run: int
    attempt: int
    step: str
    code: str


@dataclass(frozen=True)
class SettleInput:
    """Look whether the answer of this run has been decided on, or has waited long enough."""

    event_id: str
    run: int


@dataclass(frozen=True)
class BuryInput:
    """Make a dead letter of the event: step and machine word of the last failure."""

    event_id: str
    run: int
    step: str
    code: str


def get_backoff_s(
    base_s: float, failures: int, jitter: float, retry_after_s: float | None = None
) -> float:
    """Seconds until the next attempt. `jitter` is -1..1; what a server asks for is a minimum."""
    backoff_s = base_s * 2.0 ** (failures - 1) * (1 + BACKOFF_JITTER * jitter)
    return max(backoff_s, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))
