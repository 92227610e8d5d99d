"""The activities: what the workflow's decisions do. Each is one transaction after the work.

A failure that is known comes back as a StepResult; anything else is a bug, reaches Temporal as it
is, and the workflow counts a failed attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone
from temporalio import activity

from apps.approvals import waiting
from apps.destinations.deliver import DeliveryError, deliver
from apps.events import recording
from apps.events.models import OPEN, Event, Step
from apps.events.recording import GONE, Try
from apps.llm.provider import LLMError
from apps.llm.step import call_once
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import prepare
from workers.contracts import (
    ASK,
    BURY,
    DELIVER,
    NOTE_CRASH,
    SETTLE,
    TOO_OLD,
    TOO_OLD_WAIT_S,
    UNDERSTANDS,
    BuryInput,
    CrashInput,
    SettleInput,
    StepInput,
    StepResult,
    Verdict,
)

T = TypeVar("T")
HEARTBEAT_S = 3.0
DATABASE_WAIT_S = 5.0


class Crashed(Exception):
    """The attempt ended without a result."""

    verdict = Verdict.FAILED
    retry_after_s: float | None = None
    http_status: int | None = None
    reasons = {
        "crashed": "The step ended with an unexpected error: the worker's log has it.",
        "worker_lost": "The worker stopped answering during the step.",
    }

    def __init__(self, code: str) -> None:
        super().__init__(self.reasons.get(code, "The step ended without a result."))
        self.code = code


class TooOld(Exception):
    """The event's version was published for newer workers: one of those runs it."""

    code = TOO_OLD
    verdict = Verdict.WAIT
    retry_after_s: float | None = TOO_OLD_WAIT_S
    http_status: int | None = None

    def __init__(self) -> None:
        super().__init__(
            "This worker is older than what the pipeline's version needs: the event waits for a "
            "newer one. Upgrade every worker."
        )


def in_database(function: Callable[[T], StepResult]) -> Callable[[T], StepResult]:
    """For a thread of the pool: mend its connection; a database that is away uses no attempt."""

    @wraps(function)
    def wrapped(argument: T) -> StepResult:
        close_old_connections()
        try:
            return function(argument)
        except (OperationalError, InterfaceError):
            close_old_connections()
            return StepResult(Verdict.WAIT, code="database_down", retry_after_s=DATABASE_WAIT_S)

    return wrapped


def find_event(event_id: str, run: int, *related: str) -> Event | None:
    """The event, if this is still its run and nobody has finished it."""
    events = Event.objects.select_related(*related) if related else Event.objects
    return events.filter(pk=UUID(hex=event_id), run=run, status__in=OPEN).first()


@in_database
def do_ask(step: StepInput) -> StepResult:
    """Filter, transform, prompt, model, check."""
    event = find_event(step.event_id, step.run, "pipeline_version", "body")
    if event is None:
        return waiting.settle(UUID(hex=step.event_id), step.run)
    if event.pipeline_version.approval:
        decided = waiting.settle(event.pk, event.run)
        if decided.verdict == Verdict.DONE:
            return decided  # with the answer that a person has taken
    # The dispatcher has shown a first run as running, a whole batch in one write.
    if event.run > 1:
        event.start()
    preparing = Try(Step.PREPARE, step.attempt, timezone.now())
    if event.pipeline_version.needs > UNDERSTANDS:
        return recording.record_failure(event, preparing, TooOld())
    try:
        request = prepare(event.pipeline_version, bytes(event.body.raw), event.body.content_type)
    except PrepareError as error:
        return recording.record_failure(event, preparing, error)
    if request is None:
        return recording.record_filtered(event, preparing)
    asking = Try(Step.LLM, step.attempt, timezone.now())
    try:
        answer = call_once(event, event.pipeline_version, request)
    except LLMError as error:
        return recording.record_failure(event, asking, error, error.route)
    return recording.record_answer(
        event,
        asking,
        answer.answer,
        cost_usd=answer.cost_usd,
        reused=answer.reused,
        route=answer.route,
    )


@activity.defn(name=DELIVER)
@in_database
def do_deliver(step: StepInput) -> StepResult:
    """Hand the answer over to the destination."""
    event = find_event(step.event_id, step.run, "source", "pipeline_version__destination")
    if event is None:
        return GONE
    delivering = Try(Step.DELIVER, step.attempt, timezone.now())
    try:
        delivered = deliver(event, event.pipeline_version.destination, event.answer)
    except DeliveryError as error:
        return recording.record_failure(event, delivering, error)
    return recording.record_delivery(event, delivering, delivered.http_status)


@activity.defn(name=NOTE_CRASH)
def note_crash(crash: CrashInput) -> StepResult:
    """Show an attempt that could not note itself. Raises where the database is away."""
    close_old_connections()
    step = Step.LLM if crash.step == ASK else Step.DELIVER
    event = find_event(crash.event_id, crash.run)
    if event is None:  # its answer may have been held before the worker died
        return waiting.settle(UUID(hex=crash.event_id), crash.run)
    tried = Try(step, crash.attempt, timezone.now())
    return recording.record_failure(event, tried, Crashed(crash.code))


@activity.defn(name=BURY)
def bury(last: BuryInput) -> None:
    """Make a dead letter of it, with the last failure's text. Raises where the database is away."""
    close_old_connections()
    event = find_event(last.event_id, last.run)
    if event is not None:
        recording.record_burial(event, Step(last.step), last.code)


@activity.defn(name=SETTLE)
def settle(held: SettleInput) -> StepResult:
    """Is there a decision on the answer? Raises where the database is away."""
    close_old_connections()
    return waiting.settle(UUID(hex=held.event_id), held.run)


class Asking:
    """The step that asks the model: in a thread, with heartbeats for as long as it lasts."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    @activity.defn(name=ASK)
    async def ask(self, step: StepInput) -> StepResult:
        """Filter, transform, prompt, model, check."""
        call = asyncio.get_running_loop().run_in_executor(self.executor, do_ask, step)
        while not (await asyncio.wait({call}, timeout=HEARTBEAT_S))[0]:
            activity.heartbeat()
        return call.result()


def get_activities(executor: Executor) -> Sequence[Callable[..., Any]]:
    """All of them; `executor` runs the calls to the model."""
    return [Asking(executor).ask, do_deliver, note_crash, bury, settle]
