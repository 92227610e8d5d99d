"""How many events a second go the whole way, against bare Temporal on the same machine.

Floor: one workflow with one remote activity that does nothing, 50 in flight, started eagerly in
the worker's own process. Ours: from the queue's stream through dispatcher, workflow, a model over
HTTP (a fake one), check and inbox to the status "delivered", in the processes of production. Both
run on embedded servers with the flags of `manage.py up`, one after the other, several times. Before
that, what the ledger adds to one call (bench/llm_call.py).

    python bench/pipeline.py --events 500 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.llm_call import measure_call
from pipeline_admin.bootstrap import parts
from pipeline_admin.bootstrap.parts import Part
from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.bootstrap.processes import RunningPart

IN_FLIGHT = 50
TICKET = b'{"text": "My invoice shows the wrong amount, please correct it.", "n": %d}'


@activity.defn
def do_nothing(event_id: str) -> str:
    return "done"


@workflow.defn
class Bare:
    """One remote activity."""

    @workflow.run
    async def run(self, event_id: str) -> str:
        timeout = timedelta(seconds=60)
        done: str = await workflow.execute_activity(
            do_nothing, event_id, start_to_close_timeout=timeout
        )
        return done


async def measure_floor(address: str, events: int) -> float:
    """Bare workflows a second."""
    client = await Client.connect(address)
    with ThreadPoolExecutor(IN_FLIGHT) as executor:
        async with Worker(
            client,
            task_queue="bare",
            workflows=[Bare],
            activities=[do_nothing],
            activity_executor=executor,
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            await run_bare(client, IN_FLIGHT)  # warm
            started = time.monotonic()
            await run_bare(client, events)
            return events / (time.monotonic() - started)


async def run_bare(client: Client, events: int) -> None:
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        async with limit:
            await client.execute_workflow(
                Bare.run,
                f"{number:032x}",
                id=f"bare-{time.time_ns()}-{number}",
                task_queue="bare",
                request_eager_start=True,
            )

    await asyncio.gather(*(one(number) for number in range(events)))


@contextmanager
def running(part: Part, log_dir: Path) -> Iterator[RunningPart]:
    """The part's process, up; ended on the way out."""
    process = RunningPart(part, log_dir / f"{part.name}.log")
    try:
        if not process.wait_until_up():
            sys.exit(f"{part.name} did not come up:\n{process.end_of_log()}")
        yield process
    finally:
        process.stop()


def set_environment(data_dir: Path, temporal_address: str, llm_port: int) -> None:
    """What every process of ours reads."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "pipeline_admin.settings",
        "DATA_DIR": str(data_dir),
        "SECRET_KEY": "only-for-the-bench-" + "x" * 40,
        "VAULT_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
        "QUEUE_URL": parts.valkey_url(data_dir),
        "TEMPORAL_ADDRESS": temporal_address,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{llm_port}/v1",
        "OPENAI_API_KEY": "of-the-bench",
        "LOG_LEVEL": "WARNING",
    }


def make_source() -> int:
    """The id of a source whose pipeline asks for a category and delivers to an inbox."""
    from apps.destinations.models import Destination
    from apps.pipelines.models import Pipeline
    from apps.sources.models import Source

    inbox = Destination.objects.create(slug="inbox", name="Inbox", kind="inbox")
    pipeline = Pipeline.objects.create(slug="triage", name="Triage")
    schema = {
        "type": "object",
        "properties": {"category": {"type": "string"}},
        "required": ["category"],
        "additionalProperties": False,
    }
    pipeline.publish(
        prompt="Classify: {{ text }} ({{ n }})",
        model="fake",
        destination=inbox,
        output_schema=schema,
    )
    return Source.objects.create(slug="bench", name="Bench", scheme="x", pipeline=pipeline).pk


def fill_queue(source_id: int, events: int) -> None:
    """Append as ingest does, but without its HTTP: bench/ingest.py measures that."""
    from django.conf import settings

    from apps.events.ids import new_event_hex
    from apps.streams.clients import get_client
    from apps.streams.entries import STREAM

    client = get_client(settings.QUEUE_URLS[0])
    for number in range(events):
        event_id = new_event_hex()
        entry: dict[Any, Any] = {
            "e": event_id,
            "s": source_id,
            "k": event_id,
            "t": "ticket.created",
        }
        body: dict[Any, Any] = {
            "c": "application/json",
            "r": int(time.time() * 1000),
            "b": TICKET % number,
        }
        client.xadd(STREAM, entry | body)


def count_delivered() -> int:
    from apps.events.models import Event, Status

    return Event.objects.filter(status=Status.DELIVERED).count()


def wait_for(goal: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not goal():
        if time.monotonic() > deadline:
            sys.exit(f"Not delivered within {timeout_s:.0f} s: {count_delivered()} were.")
        time.sleep(0.1)


def measure_ours(source_id: int, events: int) -> float:
    """Events a second from the filled queue to delivered, with all processes running."""
    before = count_delivered()
    started = time.monotonic()
    fill_queue(source_id, events)
    wait_for(lambda: count_delivered() >= before + events, 60 + events / 2)
    return events / (time.monotonic() - started)


def prepare_database() -> int:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    return make_source()


def run(events: int, rounds: int, calls: int, latency_ms: float) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-pipeline-")))
        bare_dir = folder / "bare"
        ports, bare_ports = (parts.TemporalPorts(*free_ports(4)) for _ in range(2))
        llm_port = free_ports(1)[0]
        set_environment(folder, f"127.0.0.1:{ports.grpc}", llm_port)
        fake = ("-m", "tests.fixtures.fake_llm", "--port", str(llm_port))
        llm = Part("fake-llm", (sys.executable, *fake, "--latency-ms", str(latency_ms)))
        stack.enter_context(running(parts.valkey(folder), folder))
        stack.enter_context(running(parts.temporal(folder, ports), folder))
        stack.enter_context(running(parts.temporal(bare_dir, bare_ports), folder))
        stack.enter_context(running(llm, folder))
        source_id = prepare_database()
        if calls:
            measure_call(source_id, calls)
        for name in ("worker", "dispatcher"):
            command = (sys.executable, "manage.py", name)
            stack.enter_context(running(Part(name, command), folder))
        measure_ours(source_id, IN_FLIGHT)  # warm
        compare(source_id, f"127.0.0.1:{bare_ports.grpc}", events, rounds)


def compare(source_id: int, bare_address: str, events: int, rounds: int) -> None:
    """Floor and ours by turns, so that a busy minute of the machine hits both."""
    floors, ours = [], []
    for number in range(1, rounds + 1):
        floors.append(asyncio.run(measure_floor(bare_address, events)))
        ours.append(measure_ours(source_id, events))
        print(f"round {number}: floor {floors[-1]:.1f}/s, ours {ours[-1]:.1f}/s", flush=True)
    report(floors, ours)


def report(floors: list[float], ours: list[float]) -> None:
    floor, mine = statistics.median(floors), statistics.median(ours)
    print(f"bare Temporal {floor:.1f} events/s, whole way {mine:.1f} events/s")
    print(f"ratio {mine / floor:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    arguments = parser.parse_args()
    run(arguments.events, arguments.rounds, arguments.calls, arguments.latency_ms)
