"""What the workflow and its activities say to each other: plain data, ids instead of bodies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_ATTEMPTS = 5


class Verdict(StrEnum):
    """How a step ended."""

    DONE = "done"
    FILTERED = "filtered"
    FAILED = "failed"  # uses an attempt; try again
    WAIT = "wait"  # rate limit, open circuit: uses no attempt
    NEVER = "never"  # permanent: dead letter at once
    HELD = "held"  # waits for a person
    GONE = "gone"  # the event has moved on (other run, discarded): stop quietly


@dataclass(frozen=True)
class EventRun:
    """One run of one event: the workflow's input."""

    event_id: str  # 32 hex digits
    run: int


@dataclass(frozen=True)
class StepInput:
    """One attempt of one step."""

    event_id: str
    run: int
    attempt: int  # 1..MAX_ATTEMPTS


@dataclass(frozen=True)
class StepResult:
    """How the attempt ended. `code` is a machine word, never a text from outside."""

    verdict: Verdict
    code: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class BuryInput:
    """Make a dead letter of the event: step and machine word of the last failure."""

    event_id: str
    run: int
    step: str
    code: str
