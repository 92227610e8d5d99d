"""The worker process: runs workflows and their activities until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from prometheus_client import start_http_server
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from apps.events.workflow_client import connect
from workers.activities import get_activities
from workers.signs_of_life import beat_until, listen_for_stop
from workers.workflows import EventWorkflow

CONNECT_PAUSE_S = 1.0
# A workflow whose worker is gone is offered to the others so much later.
STICKY_TIMEOUT = timedelta(seconds=5)
logger = logging.getLogger(__name__)


async def run_worker() -> None:
    """Work until SIGTERM or SIGINT; then let the calls to the model finish, and end."""
    stop = listen_for_stop()
    start_metrics()
    await asyncio.gather(work(stop, get_runtime()), beat_until(stop, "worker"))


async def work(stop: asyncio.Event, runtime: Runtime | None = None) -> None:
    """Work until `stop` is set. Where the worker itself fails, that ends it, and sets `stop`."""
    client = await connect_patiently(runtime, stop)
    if client is None:
        return
    concurrency = settings.WORKER_CONCURRENCY
    with (
        ThreadPoolExecutor(concurrency, "ask") as asking,
        ThreadPoolExecutor(concurrency, "step") as stepping,
    ):
        worker = build_worker(client, asking, stepping)
        working = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        logger.info("Worker ready: %d steps at once.", concurrency)
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await worker.shutdown()
        await working


def build_worker(
    client: Client, asking: ThreadPoolExecutor, stepping: ThreadPoolExecutor
) -> Worker:
    """A worker with as many slots as threads: a slot without a thread would time out waiting."""
    concurrency = settings.WORKER_CONCURRENCY
    return Worker(
        client,
        task_queue=settings.TEMPORAL_TASK_QUEUE,
        workflows=[EventWorkflow],
        activities=get_activities(asking),
        activity_executor=stepping,
        # The workflow imports nothing that a sandbox would have to catch (a test says so).
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=concurrency,
        max_concurrent_local_activities=concurrency,
        # A workflow task lasts as long as its delivery.
        max_concurrent_workflow_tasks=2 * concurrency,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        # Cut off, a paid call would end as unknown: it may take all the time it has.
        graceful_shutdown_timeout=timedelta(seconds=settings.LLM_TIMEOUT_S),
    )


async def connect_patiently(runtime: Runtime | None, stop: asyncio.Event) -> Client | None:
    """The client, as soon as Temporal answers; None if told to stop before."""
    while not stop.is_set():
        try:
            return await connect(runtime=runtime)
        except RuntimeError:
            logger.warning("Temporal does not answer yet at %s.", settings.TEMPORAL_ADDRESS)
            await asyncio.sleep(CONNECT_PAUSE_S)
    return None


def start_metrics() -> None:
    """Show this process's own metrics, if a port is set."""
    if settings.METRICS_PORT_WORKER:
        start_http_server(settings.METRICS_PORT_WORKER, settings.METRICS_HOST)


def get_runtime() -> Runtime | None:
    """Temporal's SDK with its metrics shown, if a port is set."""
    if not settings.METRICS_PORT_TEMPORAL_SDK:
        return None
    address = f"{settings.METRICS_HOST}:{settings.METRICS_PORT_TEMPORAL_SDK}"
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))
