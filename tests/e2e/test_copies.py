"""However often and wherever an event comes in, it is one event."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from apps.sources.schemes import sign
from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.bootstrap.processes import tie_to_this_process
from pipeline_admin.bootstrap.readiness import http_answers
from tests.e2e.system import ROOT, WEBHOOK_SECRET, System
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROCESSES, EVENTS, COPIES = 4, 1_000, 10


@pytest.fixture
def ports(system: System) -> Iterator[list[int]]:
    """Four ingest processes of the running system."""
    ports = free_ports(PROCESSES)
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "web", "--port", str(port)],
            cwd=ROOT, env=system.environ, preexec_fn=tie_to_this_process(),
        )
        for port in ports
    ]  # fmt: skip
    try:
        for port in ports:
            wait_until(lambda port=port: http_answers(port, "/healthz"), 30, f"port {port}")  # type: ignore[misc]
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def post(port: int, numbers: Sequence[int]) -> list[tuple[int, int, str]]:
    """Event's number, status and id of each answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    answers = []
    for number in numbers:
        key = f"copy-{number}"
        body = json.dumps({"number": number}).encode()
        headers = sign("standard-webhooks", {}, WEBHOOK_SECRET, body, time.time(), key, "")
        headers["Content-Type"] = "application/json"
        connection.request("POST", "/hooks/copies", body, headers)
        answer = connection.getresponse()
        answers.append((number, answer.status, str(json.loads(answer.read()).get("id"))))
    connection.close()
    return answers


def test_ten_copies_of_a_thousand_events_over_four_processes_are_a_thousand_events(
    system: System, ports: list[int]
) -> None:
    system.create("destinations", slug="copies", name="Copies", kind="inbox")
    # Rows are what is counted here: the filter ends each event before it costs a call.
    system.create(
        "pipelines", slug="copies", name="Copies", model="fake", prompt="{{ number }}",
        filter="`false`", destination="copies",
    )  # fmt: skip
    system.create(
        "sources", slug="copies", name="Copies", scheme="standard-webhooks",
        secrets=[WEBHOOK_SECRET], pipeline="copies",
    )  # fmt: skip
    order = [number for number in range(EVENTS) for _ in range(COPIES)]
    random.Random(3).shuffle(order)
    lines = 2 * PROCESSES  # two connections to each
    with ThreadPoolExecutor(lines) as pool:
        shares = [order[line::lines] for line in range(lines)]
        rows = pool.map(post, ports * 2, shares)
        answers = [answer for row in rows for answer in row]

    assert Counter(status for _, status, _ in answers) == {202: EVENTS, 200: EVENTS * (COPIES - 1)}
    ids = {(number, event_id) for number, _, event_id in answers}
    assert len(ids) == EVENTS
    system.wait_until_settled("copies", EVENTS)
    stored = [event["id"] for event in system.get_events(source="copies")]
    assert sorted(stored) == sorted(event_id for _, event_id in ids)
