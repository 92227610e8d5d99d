"""Whatever a provider does with a batch: nothing is paid twice, nothing is lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from apps.events.models import Event
from apps.llm import batches
from apps.llm.batch_gathering import gather
from apps.llm.batch_models import LLMBatch
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


def get_batch() -> LLMBatch:
    return LLMBatch.objects.latest("created_at")


@pytest.mark.parametrize("failure", ["unread", "reset", "cut", "500", "429:1"])
def test_an_upload_that_fails_is_made_again(
    failure: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("upload", failure)
    run_round(4)
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["upload"], fake_llm.desk.asked["create"]) == (2, 1)
    assert fake_llm.calls["e1"] == 1


@pytest.mark.parametrize("failure", ["reset", "cut"])
def test_a_batch_that_was_created_unheard_is_found_by_its_mark(
    failure: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("create", failure)
    run_round()
    assert get_batch().state == "creating"
    run_round(3)
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["create"], fake_llm.calls["e1"]) == (1, 1)


def test_it_is_found_behind_a_hundred_others(
    make_waiting: MakeWaiting, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_waiting("e1")
    fake_llm.desk.plan("create", "reset")
    run_round()
    ours = fake_llm.desk.batches["batch_1"]
    for number in range(2, 152):
        other = ours | {"id": f"batch_{number}", "metadata": None}
        fake_llm.desk.batches[f"batch_{number}"] = other
    run_round()
    assert (get_batch().state, get_batch().batch_id) == ("running", "batch_1")


def test_a_batch_that_cannot_be_found_is_held_and_never_created_again(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("create", "unread")
    run_round(3)
    assert (get_batch().state, get_states()) == ("creating", {"e1": "batch"})
    let_time_pass(minutes=11)
    run_round()
    assert (get_batch().state, get_states()) == ("unknown", {"e1": "unknown"})
    assert take_step(event) == "llm_outcome_unknown"
    event.refresh_from_db()
    assert event.status == "held"
    run_round(3)
    assert fake_llm.desk.asked["create"] == 1


def test_a_lost_batch_that_shows_later_lets_its_held_events_go_on(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("create", "reset")
    fake_llm.desk.hidden.add("batch_1")
    run_round()
    let_time_pass(minutes=11)
    run_round()
    assert take_step(event) == "llm_outcome_unknown"
    fake_llm.desk.hidden.clear()
    run_round(2)
    event.refresh_from_db()
    assert event.status == "running"
    assert take_step(event) == "ok"
    assert fake_llm.calls["e1"] == 1


def test_an_answer_of_a_lost_batch_changes_nothing_that_a_person_has_called_again(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("create", "reset")
    fake_llm.desk.hidden.add("batch_1")
    run_round()
    let_time_pass(minutes=11)
    run_round()
    take_step(event)
    Event.objects.filter(pk=event.pk).update(run=2, status="running")
    assert take_step(event) == "llm_batch_waiting"
    fake_llm.desk.hidden.clear()
    run_round(3)
    call = LLMCall.objects.get()
    assert (call.state, call.fence, fake_llm.desk.asked["create"]) == ("answered", 2, 2)
    assert call.batch == LLMBatch.objects.latest("created_at")


@pytest.mark.parametrize("failure", ["429:1", "500", "502"])
def test_a_creation_that_was_refused_is_made_again(
    failure: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("create", failure)
    run_round(2)
    let_time_pass(minutes=11)  # a gateway's word is believed only when the list agrees
    run_round(4)
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["create"], fake_llm.calls["e1"]) == (2, 1)


@pytest.mark.parametrize("kind", ["upload", "create"])
def test_without_a_batch_interface_the_call_is_made_directly(
    kind: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan(kind, "404")
    run_round(2)
    assert (get_batch().state, get_states()) == ("refused", {"e1": "refused"})
    assert take_step(event) == "ok"
    call = LLMCall.objects.get()
    assert not call.saved_usd
    assert fake_llm.calls["e1"] == 1


def test_a_direct_call_that_fails_then_is_made_directly_again(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    event = make_waiting("e1")
    fake_llm.desk.plan("create", "404")
    run_round(2)
    assert take_step(event) == "llm_provider_failed"
    assert take_step(event) == "ok"
    assert fake_llm.desk.asked["create"] == 1


def test_a_provider_that_is_down_for_half_the_wait_is_asked_directly(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("upload", "500", "500")
    run_round(2)
    let_time_pass(hours=13)
    run_round(2)
    assert get_batch().state == "refused"
    assert take_step(event) == "ok"
    assert fake_llm.desk.asked["create"] == 0


def test_lines_that_were_refused_for_a_moment_go_again(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "429", "ok")
    fake_llm.plan("e2", "500", "ok")
    events = [make_waiting("e1"), make_waiting("e2"), make_waiting("e3")]
    run_round(2)
    assert get_states() == {"e1": "refused", "e2": "refused", "e3": "answered"}
    assert (get_batch().refused, get_batch().answered) == (2, 1)
    assert [take_step(event) for event in events] == [*["llm_batch_waiting"] * 2, "ok"]
    run_round(2)
    assert [take_step(event) for event in events] == ["ok", "ok", "reused"]
    assert dict(fake_llm.calls) == {"e1": 2, "e2": 2, "e3": 1}


def test_after_three_batches_a_call_is_made_directly(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "500", "500", "ok")
    event = make_waiting("e1")
    for _ in range(2):
        run_round(2)
        assert take_step(event) == "llm_batch_waiting"
    run_round(2)
    assert take_step(event) == "ok"
    assert fake_llm.desk.asked["create"] == 3


def test_a_line_that_was_refused_for_good_is_a_dead_letter_and_not_paid(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "400", "ok")
    event = make_waiting("e1")
    run_round(2)
    assert take_step(event) == "llm_refused"
    assert event.attempts.latest("pk").http_status == 400
    Event.objects.filter(pk=event.pk).update(run=2)  # a person's retry asks again
    assert take_step(event) == "llm_batch_waiting"


@pytest.mark.parametrize("end", ["expired", "cancelled", "failed"])
def test_what_a_batch_did_not_do_goes_again(
    end: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.end_as = end
    event = make_waiting("e1")
    run_round(2)
    assert (get_states(), fake_llm.calls.total()) == ({"e1": "refused"}, 0)
    assert get_batch().problem
    assert "secret" not in get_batch().problem
    assert take_step(event) == "llm_batch_waiting"
    fake_llm.desk.end_as = "completed"
    run_round(2)
    assert take_step(event) == "ok"


def test_what_an_expired_batch_did_is_kept(make_waiting: MakeWaiting, fake_llm: FakeLLM) -> None:
    fake_llm.desk.end_as = "expired"
    make_waiting("e1: done"), make_waiting("e2")
    run_round(2)
    assert get_states() == {"e1: done": "answered", "e2": "refused"}


def test_a_batch_is_stopped_when_time_is_up_and_its_calls_are_made_directly(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.is_slow = True
    event = make_waiting("e1")
    run_round(2)
    assert fake_llm.desk.asked["cancel"] == 0
    let_time_pass(hours=23, minutes=50)
    run_round(3)
    assert (get_batch().provider_status, get_states()) == ("cancelled", {"e1": "refused"})
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["cancel"], fake_llm.calls["e1"]) == (1, 1)


@pytest.mark.parametrize("line", ["missing", "garbage", "nameless"])
def test_a_line_that_is_not_there_may_have_been_paid_and_is_held(
    line: str, make_waiting: MakeWaiting
) -> None:
    event = make_waiting(f"e1: {line}")
    other = make_waiting("e2")
    run_round(2)
    assert get_states() == {f"e1: {line}": "unknown", "e2": "answered"}
    assert (take_step(event), take_step(other)) == ("llm_outcome_unknown", "ok")
    assert (get_batch().lost, get_batch().answered) == (1, 1)


def test_a_line_that_comes_twice_counts_once(make_waiting: MakeWaiting) -> None:
    event = make_waiting("e1: twice")
    run_round(2)
    assert take_step(event) == "ok"
    assert LLMCall.objects.get().fence == 1


def test_an_answer_that_is_too_large_is_known_as_such(make_waiting: MakeWaiting) -> None:
    event, other = make_waiting("e1: huge"), make_waiting("e2")
    run_round(2)
    assert (take_step(event), take_step(other)) == ("answer_too_large", "ok")


@pytest.mark.parametrize("failure", ["cut", "reset", "500"])
def test_a_file_that_breaks_off_is_read_again(
    failure: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    events = [make_waiting(f"e{number}") for number in range(5)]
    fake_llm.desk.plan("content", failure)
    run_round(2)
    assert get_batch().state == "running"
    run_round()
    assert {take_step(event) for event in events} == {"ok"}
    assert set(fake_llm.calls.values()) == {1}


def test_files_are_deleted_at_the_provider_when_all_is_read(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e2", "400")
    make_waiting("e1"), make_waiting("e2")
    run_round()
    assert len(fake_llm.desk.files) == 1
    run_round()
    assert fake_llm.desk.files == {}


@pytest.mark.parametrize("failure", ["404", "500", "reset", "unread"])
def test_a_file_that_can_not_be_deleted_changes_nothing(
    failure: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    fake_llm.desk.plan("delete", failure)
    run_round(2)
    assert (take_step(event), get_batch().state) == ("ok", "finished")


def test_what_does_not_fit_into_a_round_is_read_in_the_next(
    make_waiting: MakeWaiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_waiting(f"e{number}")
    run_round()
    batch = get_batch()
    for answered in (1, 2, 3):
        LLMBatch.objects.update(leased_until=None)
        batch.refresh_from_db()
        batches.work_on(batch, ends_s=0)
        assert get_batch().answered == answered


def test_a_provider_that_does_not_answer_is_asked_again_and_given_up_two_days_late(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    run_round()
    fake_llm.desk.plan("retrieve", *["500"] * 3)
    run_round()
    assert get_batch().problem
    let_time_pass(hours=25)
    run_round()
    assert take_step(event) == "llm_batch_waiting"
    let_time_pass(hours=48)
    run_round()
    assert get_states() == {"e1": "unknown"}


def test_two_processes_never_work_on_one_batch(make_waiting: MakeWaiting, settings: Any) -> None:
    make_waiting("e1")
    gather()
    first, second = LLMBatch.objects.get(), LLMBatch.objects.get()
    assert first.take(60)
    assert not second.take(60)
    LLMBatch.objects.update(leased_until=None)
    assert second.take(60)
    assert not first.change(state="uploaded")


def test_many_processes_at_once_send_each_call_once(
    make_waiting: MakeWaiting, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_BATCH_CALLS = 5
    for number in range(20):
        make_waiting(f"e{number}")
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        try:
            for _ in range(6):
                batches.run_due()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_round(6)
    assert dict(fake_llm.calls) == {f"e{number}": 1 for number in range(20)}
    assert set(get_states().values()) == {"answered"}
    assert sum(LLMBatch.objects.values_list("answered", flat=True)) == 20


def test_a_process_that_stood_still_creates_nothing_any_more(
    make_waiting: MakeWaiting, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_waiting("e1")
    monkeypatch.setattr(batches, "SEND_WITHIN_S", -1.0)  # it woke up after its time
    run_round()
    assert (get_batch().state, fake_llm.desk.asked["create"]) == ("uploaded", 0)
    monkeypatch.undo()
    run_round(2)
    assert fake_llm.desk.asked["create"] == 1
