"""The task of batches killed anywhere on its way: no second payment, and nothing is lost."""

from __future__ import annotations

import signal

import pytest

from apps.llm.batch_models import LLMBatch
from apps.llm.models import LLMCall
from tests.fixtures.batches import MakeWaiting, let_time_pass, run_round, take_step
from tests.fixtures.fake_llm import FakeLLM
from tests.workers.dying_batch_task import AFTER, BEFORE, BEFORE_UPLOAD
from tests.workers.processes import Start

CALLS = 20
UNCLEAR = "before_creating"  # nobody can tell it from the next point but the provider's list


def kill_at(point: str, start_process: Start) -> None:
    arguments = ("-m", "tests.workers.dying_batch_task", point)
    killed = start_process(*arguments, LLM_BATCH_GATHER_S="0", LLM_BATCH_POLL_S="0.1")
    assert killed.wait(60) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("point", [*BEFORE, BEFORE_UPLOAD])
def test_a_killed_task_pays_nothing_twice_and_the_next_goes_on(
    point: str, start_process: Start, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    events = [make_waiting(f"e{number}") for number in range(CALLS)]
    kill_at(point, start_process)
    run_round(4)
    assert fake_llm.desk.asked["create"] == 1
    assert dict(fake_llm.calls) == {f"e{number}": 1 for number in range(CALLS)}
    assert LLMBatch.objects.get().answered == CALLS
    assert {take_step(event) for event in events} == {"ok"}


@pytest.mark.slow
def test_killed_between_the_intent_and_the_creation_it_is_held_and_not_created(
    start_process: Start, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    assert UNCLEAR in AFTER
    events = [make_waiting(f"e{number}") for number in range(CALLS)]
    kill_at(UNCLEAR, start_process)
    run_round(3)
    assert set(LLMCall.objects.values_list("state", flat=True)) == {"batch"}
    let_time_pass(minutes=11)
    run_round(2)
    assert {take_step(event) for event in events} == {"llm_outcome_unknown"}
    assert (fake_llm.desk.asked["create"], fake_llm.calls.total()) == (0, 0)
