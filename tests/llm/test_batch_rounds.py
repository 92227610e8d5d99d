"""A round goes on where the last one stopped, and a fault in one batch stops no other."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from apps.housekeeping.metrics import get_registry
from apps.llm import batches
from apps.llm.batch_lines import Line
from apps.llm.batch_models import BatchState, LLMBatch
from apps.llm.batch_results import Reader
from apps.llm.models import LLMCall
from tests.fixtures.batches import (
    MakeWaiting,
    get_states,
    let_time_pass,
    run_round,
    take_step,
)
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "a word of the prompt"


def read_in_slices(count: int) -> None:
    """Rounds that are over after one line each."""
    for _ in range(count):
        LLMBatch.objects.update(leased_until=None)
        batches.work_on(LLMBatch.objects.get(), ends_s=0)


def read_offsets(fake_llm: FakeLLM) -> list[int]:
    return [int(each.removeprefix("bytes=").rstrip("-")) for each in fake_llm.desk.ranges]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_is_gone_on_with_behind_the_last_line_that_was_read(
    knows_ranges: bool,
    make_waiting: MakeWaiting,
    fake_llm: FakeLLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_llm.desk.knows_ranges = knows_ranges
    fake_llm.plan("e2", "500")
    for number in range(5):
        make_waiting(f"e{number}")
    run_round()
    looked_at: list[str] = []
    take = Reader._take

    def note(reader: Reader, line: Line) -> bool:
        looked_at.append(line.name)
        return take(reader, line)

    monkeypatch.setattr(Reader, "_take", note)
    read_in_slices(6)
    assert len(looked_at) == len(set(looked_at)) == 5  # none was read a second time
    assert read_offsets(fake_llm) == sorted(set(read_offsets(fake_llm)))
    assert get_states() == {f"e{n}": "refused" if n == 2 else "answered" for n in range(5)}
    assert LLMBatch.objects.get().state == "finished"


def test_answers_of_all_slices_count_together(make_waiting: MakeWaiting, fake_llm: FakeLLM) -> None:
    fake_llm.desk.end_as = "expired"
    for number in range(4):
        make_waiting(f"e{number}: done" if number else "e0")
    run_round()
    counts = {"total": 4, "completed": 3, "failed": 0}
    fake_llm.desk.batches["batch_1"]["request_counts"] = counts
    read_in_slices(6)
    assert sorted(get_states().values()) == ["answered"] * 3 + ["refused"]


def test_a_file_that_breaks_off_is_gone_on_with(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    for number in range(4):
        make_waiting(f"e{number}")
    run_round()
    fake_llm.desk.plan("content", "cut")
    run_round(2)
    assert read_offsets(fake_llm)[0] > 0
    assert set(get_states().values()) == {"answered"}


def test_a_file_that_is_another_one_is_read_from_its_beginning(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    for number in range(3):
        make_waiting(f"e{number}")
    run_round()
    read_in_slices(1)
    reading = LLMBatch.objects.get().reading
    assert reading
    LLMBatch.objects.update(reading=reading | {"offset": reading["offset"] - 3})
    run_round()
    assert LLMBatch.objects.get().reading is None
    run_round()
    assert set(get_states().values()) == {"answered"}
    assert set(fake_llm.calls.values()) == {1}


# --- Faults of ours -------------------------------------------------------------------------


@pytest.fixture
def broken(make_waiting: MakeWaiting, monkeypatch: pytest.MonkeyPatch) -> LLMBatch:
    """The older of two batches, at whose look-up our own code fails."""
    make_waiting("e1")
    run_round()
    batch = LLMBatch.objects.get()
    make_waiting("e2")
    poll = batches.STEPS[BatchState.RUNNING]

    def fail(endpoint: Any, each: LLMBatch, ends_s: float) -> None:
        if each.pk == batch.pk:
            raise KeyError(SECRET)
        poll(endpoint, each, ends_s)

    monkeypatch.setitem(batches.STEPS, BatchState.RUNNING, fail)
    return batch


def test_a_fault_in_one_batch_does_not_stop_the_others(broken: LLMBatch) -> None:
    run_round(3)
    assert get_states() == {"e1": "batch", "e2": "answered"}


def test_a_fault_is_logged_and_shown_without_what_it_was_about(
    broken: LLMBatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        run_round()
    assert "KeyError at batches.py" in caplog.text
    assert SECRET not in caplog.text
    broken.refresh_from_db()
    assert "A fault of ours (KeyError)" in broken.problem
    faulty = get_registry().get_sample_value("pipeline_llm_batches_faulty")
    assert faulty == 1


def test_a_fault_is_tried_again_later_each_time_and_forgotten_when_it_is_over(
    broken: LLMBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round()
    broken.refresh_from_db()
    first, until = broken.faults, broken.leased_until
    run_round()
    broken.refresh_from_db()
    assert (first, broken.faults) == (1, 2)
    assert until
    assert broken.leased_until
    assert broken.leased_until - until >= timedelta(seconds=batches.PAUSE_S)
    monkeypatch.undo()
    run_round()
    broken.refresh_from_db()
    assert (broken.faults, get_states()["e1"]) == (0, "answered")


def test_a_fault_that_stays_ends_as_an_unknown_outcome(broken: LLMBatch) -> None:
    let_time_pass(days=3)
    run_round()
    assert get_states()["e1"] == "unknown"


def test_a_fault_in_gathering_stops_no_batch_that_is_on_its_way(
    make_waiting: MakeWaiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_waiting("e1")
    run_round()

    def fail() -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(batches, "gather", fail)
    run_round()
    assert LLMCall.objects.get().state == "answered"
    assert take_step(event) == "ok"
