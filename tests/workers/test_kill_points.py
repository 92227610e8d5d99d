"""A worker killed anywhere around the call: no second payment, and held only where nobody knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
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
NEXT = {
    "before_intent": ("ok", ""),
    "answer_committed": ("reused", ""),
    "id_committed": ("ok", ""),
    "found": ("ok", ""),
    "found_committed": ("reused", ""),
}


@dataclass(frozen=True)
class Row:
    """One row of the table; `ledger` is what a dead worker leaves there."""

    ledger: str
    requests: int
    status: str
    point: str

    @property
    def is_second_attempt(self) -> bool:
        """Whether the workers die in the attempt that finds the answer by its id."""
        return self.point.startswith("found")


def read_rows(number: int) -> Iterator[Any]:
    """A table of the documentation's last chapter, one test parameter a row."""
    page = (BASE_DIR / "docs" / "llm-outcomes.md").read_text(encoding="utf-8")
    table = page.partition("## When a worker dies")[2].split("| It dies …")[number]
    for line in re.findall(r"^\| (?!It dies|---)(.+) \|$", table, re.MULTILINE):
        _, ledger, _, requests, status, point = map(str.strip, line.split("|"))
        row = Row(ledger, int(requests), status, point.strip("`"))
        yield pytest.param(row, id=row.point)


ROWS, BACKGROUND_ROWS = list(read_rows(1)), list(read_rows(2))


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
    post_all(row, helpdesk, fake_llm, post)
    kill_all(row, rig, start_process)
    finish_all(row, rig, fake_llm)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize("row", BACKGROUND_ROWS)
def test_a_killed_workers_response_is_asked_for_by_its_id(
    row: Row,
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Callable[..., str],
    start_process: Start,
) -> None:
    post_all(row, helpdesk, fake_llm, post)
    kill_all(row, rig, start_process, LLM_BACKGROUND="1")
    finish_all(row, rig, fake_llm)


def post_all(row: Row, helpdesk: Source, fake_llm: FakeLLM, post: Callable[..., str]) -> None:
    for number in range(KILLS):
        # Who asks a second time would be answered, and seen.
        fake_llm.plan(f"e{number}", *(["hang:600"] if row.point == REQUEST_SENT else []), "ok")
        post(helpdesk, b'{"text": "[[e%d]]"}' % number)


def kill_all(row: Row, rig: Rig, start_process: Start, **variables: str) -> None:
    """A worker for each event, killed where the row says; look at what they leave."""
    rig.start_dispatcher()
    running = Event.objects.filter(status="running")
    wait_until(lambda: running.count() == KILLS, 60, "all workflows")
    arguments = ("-m", "tests.workers.stopping_worker", "kill", row.point, str(KILLS))
    killed = start_process(*arguments, WORKER_CONCURRENCY="1", **variables)
    assert killed.wait(300) == 0  # twenty starts, on a busy machine
    left = get_left()
    if row.is_second_attempt:
        assert left.total() == KILLS
        assert left[row.ledger] > KILLS / 2
    else:
        assert left == ({} if row.ledger == NOTHING else {row.ledger: KILLS})


def finish_all(row: Row, rig: Rig, fake_llm: FakeLLM) -> None:
    """The next worker ends each event as the row says, and pays nothing twice."""
    rig.start_worker()
    running = Event.objects.filter(status="running")
    wait_until(lambda: not running.exists(), 180, "an end of each")
    assert fake_llm.calls.total() == row.requests * KILLS
    assert set(fake_llm.calls.values()) <= {row.requests}
    if row.is_second_attempt:
        check_each_end(row)
    else:
        attempts = (("failed", "worker_lost"), NEXT.get(row.point, HELD))
        assert drop_repeats(get_ends()) == {(row.status, attempts): KILLS}


def drop_repeats(ends: Counter[Any]) -> Counter[Any]:
    """A busy machine may lose a heartbeat of the next worker, too: one more lost attempt."""
    dropped: Counter[Any] = Counter()
    for (status, attempts), events in ends.items():
        dropped[status, tuple(each for each, _ in groupby(attempts))] += events
    return dropped


def check_each_end(row: Row) -> None:
    """A second attempt may come to a second of the workers, and to a second kill."""
    ends = get_ends()
    kills = 0
    for (status, (begun, *lost, last)), events in ends.items():
        assert (status, begun) == (row.status, ("waited", "llm_in_background"))
        assert set(lost) <= {("failed", "worker_lost")}
        assert last == (NEXT[row.point] if lost else ("ok", ""))
        kills += len(lost) * events
    assert (kills, ends.total()) == (KILLS, KILLS)
