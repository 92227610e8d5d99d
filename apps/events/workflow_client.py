"""The apps' only door to Temporal: one connection for each process, made when it is needed.

Starting is idempotent: a run whose workflow is open keeps it, any other run gets a new one. So it
may be asked for twice, and the database decides what a workflow finds to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import temporalio.api.failure.v1
from django.conf import settings
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter, DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from workers.contracts import DECIDED, WORKFLOW, EventRun

if TYPE_CHECKING:
    from apps.events.models import Event

T = TypeVar("T")
RPC_TIMEOUT = timedelta(seconds=2)
AT_ONCE = 20  # requests under way; more make the server slower
logger = logging.getLogger(__name__)


class WorkflowsDown(Exception):
    """Temporal does not answer."""

    code = "workflows_down"
    permanent = False
    retry_after_s = 5.0


class QuietFailures(DefaultFailureConverter):
    """Keeps messages and traces of unexpected errors out of histories: they may quote a payload."""

    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: temporalio.api.failure.v1.Failure,
    ) -> None:
        if not isinstance(exception, FailureError):
            kind = type(exception).__name__
            exception = ApplicationError("The worker's log has the error.", type=kind)
        super().to_failure(exception, payload_converter, failure)


CONVERTER = replace(DataConverter.default, failure_converter_class=QuietFailures)


async def connect(*, lazy: bool = False, runtime: Runtime | None = None) -> Client:
    """A client by the settings. A lazy one connects with its first request, and cannot fail here.

    Raises RuntimeError (Temporal's own) where the server does not answer.
    """
    return await Client.connect(
        settings.TEMPORAL_ADDRESS,
        namespace=settings.TEMPORAL_NAMESPACE,
        api_key=settings.TEMPORAL_API_KEY or None,
        tls=settings.TEMPORAL_TLS,
        data_converter=CONVERTER,
        lazy=lazy,
        runtime=runtime,
    )


async def start(client: Client, run: EventRun, signal: str | None = None) -> None:
    """Start the workflow of this run, unless it is open, and send it `signal` in any case.

    Raises WorkflowsDown.
    """
    try:
        await client.start_workflow(
            WORKFLOW,
            run,
            id=run.workflow_id,
            task_queue=settings.TEMPORAL_TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            # A closed one says nothing: whoever asks has seen in the database that work is left.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal=signal,
            rpc_timeout=RPC_TIMEOUT,
        )
    except (RPCError, RuntimeError) as error:
        raise WorkflowsDown(get_reason(error)) from error


async def is_running(client: Client, workflow_id: str) -> bool:
    """Whether a workflow of this id is open. Raises WorkflowsDown."""
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise WorkflowsDown(get_reason(error)) from error
    except RuntimeError as error:
        raise WorkflowsDown(get_reason(error)) from error
    return found.status == WorkflowExecutionStatus.RUNNING


def get_reason(error: RPCError | RuntimeError) -> str:
    """A word for the log."""
    return error.status.name if isinstance(error, RPCError) else type(error).__name__


async def start_all(
    client: Client, runs: Sequence[EventRun], signal: str | None = None
) -> list[EventRun]:
    """Start many; those that were started. What was not is logged, and left to the reconciler."""
    limit = asyncio.Semaphore(AT_ONCE)
    reasons: list[str] = []

    async def start_one(run: EventRun) -> bool:
        async with limit:
            if len(reasons) >= AT_ONCE:  # down for all of them: do not wait for each
                return False
            try:
                await start(client, run, signal)
            except WorkflowsDown as error:
                reasons.append(str(error))
                return False
            return True

    started = await asyncio.gather(*(start_one(run) for run in runs))
    if reasons:
        left = started.count(False)
        logger.warning("%d workflows not started (%s): the reconciler will.", left, reasons[0])
    return [run for run, ok in zip(runs, started, strict=True) if ok]


class Background:
    """An event loop in a thread, for callers that are not asynchronous."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._client: Client | None = None
        threading.Thread(target=self.loop.run_forever, name="temporal", daemon=True).start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def get_client(self) -> Client:
        if self._client is None:
            self._client = await connect(lazy=True)
        return self._client


_background: Background | None = None
_lock = threading.Lock()


def get_background() -> Background:
    """The one of this process: one connection is enough."""
    global _background
    with _lock:
        _background = _background or Background()
        return _background


def forget_connection() -> None:
    """Connect anew when needed. In a fork, too: it has no threads, and its lock may be held."""
    global _background, _lock
    _background, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=forget_connection)


def start_soon(event: Event, signal: str | None = None) -> None:
    """Start the workflow of the event's current run. Does not wait, and never raises for Temporal:
    where that is down, the reconciler starts it later."""
    run = EventRun(event.id.hex, event.run)
    background = get_background()

    async def start_it() -> None:
        await start_all(await background.get_client(), [run], signal)

    background.submit(start_it())


def nudge_soon(event: Event) -> None:
    """Let the workflow look what was decided, as `start_soon` does: one that is lost is started."""
    start_soon(event, DECIDED)


def find_running(workflow_ids: Sequence[str]) -> dict[str, bool]:
    """Whether each of these workflows is open. Raises WorkflowsDown."""
    background = get_background()
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(client: Client, workflow_id: str) -> bool:
        async with limit:
            return await is_running(client, workflow_id)

    async def ask_all() -> list[bool]:
        client = await background.get_client()
        return await asyncio.gather(*(ask(client, one) for one in workflow_ids))

    return dict(zip(workflow_ids, background.submit(ask_all()).result(), strict=True))


def start_now(runs: Sequence[EventRun], signal: str | None = None) -> list[EventRun]:
    """Start many and wait; those that were started, or open and given the signal."""
    background = get_background()

    async def start_them() -> list[EventRun]:
        return await start_all(await background.get_client(), runs, signal)

    return background.submit(start_them()).result()
