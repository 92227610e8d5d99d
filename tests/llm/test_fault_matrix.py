"""Whatever a provider does, it is asked as often as docs/llm-outcomes.md says, and no more.

The workflow's own code and the worker's own activities run here without Temporal between them: its
clock is played, so that each wait is known to the second and nobody waits for it. With Temporal in
its place: tests/workers/test_attempts.py.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import close_old_connections, connections

from apps.events.models import Event
from apps.llm import background
from apps.sources.models import Source
from pipeline_admin.bootstrap.ports import free_ports
from pipeline_admin.env import BASE_DIR
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from workers import activities, workflows
from workers.contracts import ASK, BACKOFF_JITTER, BURY, DELIVER, NOTE_CRASH, EventRun

EVENTS = 100
FEW = 10
# Nothing goes wrong here, or nothing that another row would not show as well.
OF_FEW = {
    *("ok", "504", "524", "408", "499", "409 425 ok", "400", "redirect"),
    *("not-json", "wrong-schema ok", "truncated", "429:7 ok"),
    " ".join([*["429:7"] * 6, "ok"]),
}
THREADS = 8
BACKOFFS_S = (1, 2, 4, 8)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    ASK: activities.do_ask,
    DELIVER: activities.do_deliver,
    NOTE_CRASH: activities.note_crash,
    BURY: activities.bury,
}


@dataclass(frozen=True)
class Row:
    """One row of the table; `waits` in seconds, `plan` is what the fake provider does."""

    ledger: tuple[str, ...]
    requests: int
    attempts: tuple[str, ...]
    waits: tuple[float, ...]
    status: str
    code: str
    plan: tuple[str, ...]

    @property
    def events(self) -> int:
        """How many are worth their time."""
        return FEW if " ".join(self.plan) in OF_FEW else EVENTS


def read_rows(chapter: str) -> Iterator[Any]:
    """A table of the documentation, one test parameter a row."""
    page = (BASE_DIR / "docs" / "llm-outcomes.md").read_text(encoding="utf-8")
    table = page.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (?!The provider)(.+) \|$", table, re.MULTILINE):
        happens, _, ledger, requests, attempts, waits, *end = map(str.strip, line.split("|"))
        status, code, plan = end
        row = Row(
            tuple(ledger.split(", ")),
            int(requests),
            tuple(attempts.split(", ")),
            tuple(float(wait) for wait in waits.split(", ") if wait),
            status,
            code,
            tuple(plan.strip("`").split()),
        )
        yield pytest.param(row, id=happens.replace("`", ""))


ROWS = list(read_rows("The table"))
BACKGROUND_ROWS = list(read_rows("In the background"))


class PlayedTemporal:
    """What the workflow asks of Temporal: activities run in threads, and no wait takes time."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.executor = executor
        self.waits: dict[str, list[float]] = {}

    async def execute_activity(self, name: str, argument: Any, **_: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, FUNCTIONS[name], argument)

    execute_local_activity = execute_activity

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task
        self.waits.setdefault(task.get_name(), []).append(seconds)

    @staticmethod
    def random() -> random.Random:
        return random.Random()

    @staticmethod
    def patched(change: str) -> bool:
        return True

    @staticmethod
    def info() -> Any:
        return SimpleNamespace(is_continue_as_new_suggested=lambda: False)


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedTemporal]:
    with ThreadPoolExecutor(THREADS) as executor:
        played = PlayedTemporal(executor)
        monkeypatch.setattr(workflows, "workflow", played)
        yield played
        # Each thread closes the connection it has opened.
        barrier = threading.Barrier(THREADS)
        for _ in range(THREADS):
            executor.submit(close_connections, barrier)


def close_connections(barrier: threading.Barrier) -> None:
    """In each of the threads: one that waits here takes no second turn."""
    barrier.wait(10)
    connections.close_all()


@pytest.fixture
def provider(fake_llm: FakeLLM, settings: Any, valkey_url: str) -> FakeLLM:
    """A provider whose failures concern one event at a time."""
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_BREAKER_FAILURES = 0
    settings.LLM_ADAPTIVE = False
    return fake_llm


def arrange(row: Row, provider: FakeLLM, settings: Any) -> None:
    """What can't be planned by an event's text."""
    if row.plan == ("unreachable",):
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    if row.plan == ("unread",):
        provider.reads_bodies = False
    if row.plan[0].startswith("hang"):
        settings.LLM_TIMEOUT_S = 0.3


def make_events(helpdesk: Source, provider: FakeLLM, row: Row) -> list[Event]:
    events = []
    for number in range(row.events):
        provider.plan(f"e{number}", *row.plan)
        raw = b'{"text": "[[e%d]]"}' % number
        events.append(make_event(helpdesk, raw, idempotency_key=f"e{number}"))
    return events


async def carry_all(events: list[Event]) -> None:
    """Run the workflow of each, as many at once as there are threads."""
    runs = {event.pk.hex: EventRun(event.pk.hex, event.run) for event in events}
    undecided = workflows.EventWorkflow().await_decision
    await asyncio.gather(
        *(
            asyncio.create_task(workflows.carry(run, undecided), name=name)
            for name, run in runs.items()
        )
    )


def get_attempts(event: Event) -> tuple[str, ...]:
    attempts = event.attempts.exclude(step="deliver").order_by("started_at", "pk")
    return tuple(attempts.values_list("outcome", flat=True))


def get_ends(events: list[Event]) -> Counter[Any]:
    """How they ended: one entry, where all ended alike."""
    ends: Counter[Any] = Counter()
    for event in Event.objects.filter(pk__in=[event.pk for event in events]):
        ledger = tuple(event.llm_calls.values_list("state", flat=True))
        ends[event.status, event.error_code, ledger, get_attempts(event)] += 1
    return ends


def check_waits(row: Row, waits: list[float]) -> None:
    assert len(waits) == len(row.waits)
    for wait_s, planned_s in zip(waits, row.waits, strict=True):
        jitter = BACKOFF_JITTER if planned_s in BACKOFFS_S else 0.0  # none on what was asked for
        assert planned_s * (1 - jitter) <= wait_s <= planned_s * (1 + jitter)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.django_db(transaction=True)
def test_a_provider_is_asked_as_often_as_planned(
    row: Row, provider: FakeLLM, temporal: PlayedTemporal, helpdesk: Source, settings: Any
) -> None:
    play(row, provider, temporal, helpdesk, settings)


@pytest.mark.slow
@pytest.mark.parametrize("row", BACKGROUND_ROWS)
@pytest.mark.django_db(transaction=True)
def test_a_response_is_begun_as_often_as_planned(
    row: Row,
    provider: FakeLLM,
    temporal: PlayedTemporal,
    helpdesk: Source,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.LLM_BACKGROUND = True
    # The machine's own time is not played: on a busy one a call grows old, and is asked for less.
    monkeypatch.setattr(background, "WAIT_SHARE", 0.0)
    if row.code == "llm_response_gone":
        monkeypatch.setattr(background, "MISSING_FOR", timedelta(0))  # until the second look
    play(row, provider, temporal, helpdesk, settings)


def play(
    row: Row, provider: FakeLLM, temporal: PlayedTemporal, helpdesk: Source, settings: Any
) -> None:
    events = make_events(helpdesk, provider, row)
    arrange(row, provider, settings)
    asyncio.run(carry_all(events))
    close_old_connections()
    end = (row.status, row.code, row.ledger, row.attempts)
    assert get_ends(events) == {end: row.events}
    assert provider.calls.total() == row.requests * row.events
    # By event; those whose body was not read are counted together.
    assert set(provider.calls.values()) <= {row.requests, row.requests * row.events}
    for event in events:
        check_waits(row, temporal.waits.get(event.pk.hex, []))
