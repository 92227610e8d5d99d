"""The workflow of one event. It decides only: what to try, when again, when to give up.

No I/O, no clock, no Django. Its history holds ids and machine words, never bodies or texts from
outside. What it decides must come out the same when a worker replays the history, so:

- `workflow.random()` and `workflow.sleep()` instead of their ordinary brothers.
- A change of the order or kind of its commands needs `workflow.patched("what-changed")` around
  the new way, for as long as events that started on the old way may still run.
- What an activity does inside may change freely.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, TimeoutError, is_cancelled_exception

from workers.contracts import (
    ASK,
    BURY,
    DECIDED,
    DELIVER,
    MAX_ATTEMPTS,
    NOTE_CRASH,
    SETTLE,
    STEPS,
    WORKFLOW,
    BuryInput,
    CrashInput,
    EventRun,
    SettleInput,
    StepInput,
    StepResult,
    Verdict,
    get_backoff_s,
)

# The workflow counts attempts: Temporal must not try again by itself.
ONCE = RetryPolicy(maximum_attempts=1)
# A worker that was killed is noticed so much later, at most.
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# A net only: the provider's client has its own, shorter timeout (LLM_TIMEOUT_S).
ASK_TIMEOUT = timedelta(hours=1)
DELIVER_TIMEOUT = timedelta(minutes=5)
# Burying needs nothing but the database: it is tried until that is there.
NOTE_TIMEOUT = timedelta(minutes=1)
UNTIL_DONE = RetryPolicy(maximum_interval=timedelta(seconds=30))


@workflow.defn(name=WORKFLOW)
class EventWorkflow:
    """One run of one event, from the filter to the destination."""

    def __init__(self) -> None:
        self.is_told = False

    @workflow.run
    async def run(self, event: EventRun) -> str:
        """How it ended: a Verdict, for whoever looks at the history."""
        return await carry(event, self.await_decision)

    @workflow.signal(name=DECIDED)
    def tell(self) -> None:
        """Somebody has decided on the answer: look what the database says."""
        self.is_told = True

    async def await_decision(self, event: EventRun) -> Verdict:
        """Until a person has decided on the answer, or the time for it has run out."""
        while True:
            self.is_told = False
            settled = await settle(event)
            if settled.verdict != Verdict.APPROVAL:
                return settled.verdict
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: self.is_told, timeout=timedelta(seconds=settled.retry_after_s or 0.0)
                )


async def carry(
    event: EventRun, await_decision: Callable[[EventRun], Awaitable[Verdict]]
) -> Verdict:
    """All steps from `event.step` on; ends at the first that is not done.

    Histories of releases without approval have no such verdict, so that they replay as they ran.
    """
    verdict = Verdict.DONE
    for step in STEPS[STEPS.index(event.step) :]:
        failures = event.failures if step == event.step else 0
        verdict = await finish(dataclasses.replace(event, step=step, failures=failures))
        if verdict == Verdict.APPROVAL:
            verdict = await await_decision(event)
        if verdict != Verdict.DONE:
            break
    return verdict


async def finish(event: EventRun) -> Verdict:
    """One step, tried until it is done or never will be."""
    failures = event.failures
    while True:
        result = await attempt(event, failures + 1)
        if result.verdict not in (Verdict.FAILED, Verdict.WAIT, Verdict.NEVER):
            return result.verdict
        failures += result.verdict == Verdict.FAILED
        if result.verdict == Verdict.NEVER or failures >= MAX_ATTEMPTS:
            return await bury(event, result)
        # A wait uses no attempt: it lasts as the first backoff, or as long as it was told.
        power = failures if result.verdict == Verdict.FAILED else 1
        jitter = workflow.random().uniform(-1, 1)
        await workflow.sleep(
            get_backoff_s(event.backoff_base_s, power, jitter, result.retry_after_s)
        )
        if workflow.info().is_continue_as_new_suggested():
            workflow.continue_as_new(dataclasses.replace(event, failures=failures))


async def attempt(event: EventRun, number: int) -> StepResult:
    """One attempt; one that ended without a result counts as failed, and is noted."""
    try:
        return await ATTEMPTS[event.step](StepInput(event.event_id, event.run, number))
    except FailureError as error:  # of a local activity: the error itself, not an ActivityError
        if is_cancelled_exception(error):
            raise
        lost = isinstance(error, TimeoutError) or isinstance(error.cause, TimeoutError)
        code = "worker_lost" if lost else "crashed"
    crash = CrashInput(event.event_id, event.run, number, event.step, code)
    noted: StepResult = await workflow.execute_local_activity(
        NOTE_CRASH,
        crash,
        result_type=StepResult,
        start_to_close_timeout=NOTE_TIMEOUT,
        retry_policy=UNTIL_DONE,
    )
    return noted


async def ask(step: StepInput) -> StepResult:
    """Remote, with heartbeats: a model may take minutes, and a paid call must not run twice."""
    asked: StepResult = await workflow.execute_activity(
        ASK,
        step,
        result_type=StepResult,
        start_to_close_timeout=ASK_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=ONCE,
    )
    return asked


async def deliver(step: StepInput) -> StepResult:
    """Local: saves a round trip through the server, which a slow destination would not."""
    delivered: StepResult = await workflow.execute_local_activity(
        DELIVER,
        step,
        result_type=StepResult,
        start_to_close_timeout=DELIVER_TIMEOUT,
        retry_policy=ONCE,
    )
    return delivered


ATTEMPTS: dict[str, Callable[[StepInput], Awaitable[StepResult]]] = {ASK: ask, DELIVER: deliver}


async def settle(event: EventRun) -> StepResult:
    """What was decided; the time that is left where nothing was."""
    settled: StepResult = await workflow.execute_local_activity(
        SETTLE,
        SettleInput(event.event_id, event.run),
        result_type=StepResult,
        start_to_close_timeout=NOTE_TIMEOUT,
        retry_policy=UNTIL_DONE,
    )
    return settled


async def bury(event: EventRun, result: StepResult) -> Verdict:
    """Make a dead letter of it."""
    last = BuryInput(event.event_id, event.run, result.step, result.code)
    await workflow.execute_local_activity(
        BURY, last, start_to_close_timeout=NOTE_TIMEOUT, retry_policy=UNTIL_DONE
    )
    return Verdict.DEAD
