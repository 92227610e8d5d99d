"""A worker killed anywhere around the call: no second payment, and held only where nobody knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm.models import LLMCall
from apps.sources.models import Source
from pipeline_admin.env import BASE_DIR
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig
from tests.workers.processes import Start
from tests.workers.stopping_worker import REQUEST_SENT

KILLS = 20
NOTHING = "nothing"
HELD = ("held", "llm_outcome_unknown")
# How the next attempt ends, where it is not held.
NEXT = {"before_intent": ("ok", ""), "answer_committed": ("reused", "")}


@dataclass(frozen=True)
class Row:
    """One row of the table; `ledger` is what a dead worker leaves there."""

    ledger: str
    requests: int
    status: str
    point: str


def read_rows() -> Iterator[Any]:
    """The table of the documentation, one test parameter a row."""
    page = (BASE_DIR / "docs" / "llm-outcomes.md").read_text(encoding="utf-8")
    table = page.partition("## When a worker dies")[2]
    for line in re.findall(r"^\| (?!It dies|---)(.+) \|$", table, re.MULTILINE):
        _, ledger, _, requests, status, point = map(str.strip, line.split("|"))
        row = Row(ledger, int(requests), status, point.strip("`"))
        yield pytest.param(row, id=row.point)


ROWS = list(read_rows())


def get_left() -> Counter[str]:
    """What stands in the ledger, by state."""
    return Counter(LLMCall.objects.values_list("state", flat=True))


def get_ends() -> Counter[Any]:
    ends: Counter[Any] = Counter()
    for event in Event.objects.all():
        outcomes = event.attempts.exclude(step="deliver").order_by("started_at", "pk")
        ends[event.status, tuple(outcomes.values_list("outcome", "error_code"))] += 1
    return ends


@pytest.mark.slow
@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize("row", ROWS)
def test_a_killed_worker_pays_nothing_twice(
    row: Row,
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Callable[..., str],
    start_process: Start,
) -> None:
    for number in range(KILLS):
        # Who asks a second time would be answered, and seen.
        fake_llm.plan(f"e{number}", *(["hang:600"] if row.point == REQUEST_SENT else []), "ok")
        post(helpdesk, b'{"text": "[[e%d]]"}' % number)
    rig.start_dispatcher()
    running = Event.objects.filter(status="running")
    wait_until(lambda: running.count() == KILLS, 30, "all workflows")
    arguments = ("-m", "tests.workers.stopping_worker", "kill", row.point, str(KILLS))
    killed = start_process(*arguments, WORKER_CONCURRENCY="1")
    assert killed.wait(120) == 0
    assert get_left() == ({} if row.ledger == NOTHING else {row.ledger: KILLS})

    rig.start_worker()
    wait_until(lambda: not running.exists(), 90, "an end of each")
    assert fake_llm.calls.total() == row.requests * KILLS
    assert set(fake_llm.calls.values()) <= {row.requests}
    attempts = (("failed", "worker_lost"), NEXT.get(row.point, HELD))
    assert get_ends() == {(row.status, attempts): KILLS}
