"""A batch that never ends, or that says more than it gives: held, and read when it comes late."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.events.models import Event
from apps.llm.batch_models import LLMBatch
from apps.llm.models import Budget, BudgetWait, LLMCall
from apps.pipelines.models import Pipeline
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


def give_up(fake_llm: FakeLLM) -> None:
    """The batch at the provider is stopped, does not end, and nobody waits for it any more."""
    fake_llm.desk.is_endless = True
    run_round(2)
    let_time_pass(hours=23, minutes=50)
    run_round()
    let_time_pass(minutes=61)
    run_round()
    assert get_batch().state == "unknown"


def get_status(event: Event) -> tuple[str, str]:
    event.refresh_from_db()
    return event.status, event.error_code


def test_a_batch_that_does_not_end_is_stopped_and_an_hour_later_its_events_are_held(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.is_endless = True
    event = make_waiting("e1")
    run_round(2)
    let_time_pass(hours=23, minutes=50)
    run_round(2)
    assert (fake_llm.desk.asked["cancel"], get_states()) == (1, {"e1": "batch"})
    let_time_pass(minutes=59)
    run_round()
    assert get_states() == {"e1": "batch"}
    let_time_pass(minutes=2)
    run_round()
    assert (get_batch().state, get_states()) == ("unknown", {"e1": "unknown"})
    assert "has not ended" in get_batch().problem
    assert take_step(event) == "llm_outcome_unknown"
    assert fake_llm.desk.asked["create"] == 1


def test_one_that_can_not_be_stopped_is_waited_for_no_longer(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.is_endless = True
    make_waiting("e1")
    run_round(2)
    let_time_pass(hours=23, minutes=50)
    fake_llm.desk.plan("cancel", "409", "500")
    run_round(2)
    assert fake_llm.desk.asked["cancel"] == 2
    assert get_batch().problem.startswith("It could not be stopped")
    let_time_pass(minutes=61)
    run_round()
    assert get_states() == {"e1": "unknown"}


def test_a_batch_is_stopped_an_hour_after_its_window_though_its_answers_may_wait_longer(
    make_waiting: MakeWaiting, fake_llm: FakeLLM, patient: Pipeline
) -> None:
    version = patient.current_version
    assert version
    patient.publish(**version.get_values() | {"may_wait_h": 72})
    patient.sources.get().refresh_from_db()
    fake_llm.desk.is_endless = True
    make_waiting("e1")
    run_round()
    let_time_pass(hours=24, minutes=59)
    run_round()
    assert fake_llm.desk.asked["cancel"] == 0
    let_time_pass(minutes=2)
    run_round()
    assert fake_llm.desk.asked["cancel"] == 1


def test_where_the_pipeline_says_call_again_the_event_is_asked_directly(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    type(event.pipeline_version).objects.update(on_unknown="call_again")
    give_up(fake_llm)
    assert get_status(event) == ("running", "")
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["create"], fake_llm.calls["e1"]) == (1, 1)


def test_what_ends_late_is_still_read_and_its_held_events_go_on(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    give_up(fake_llm)
    assert take_step(event) == "llm_outcome_unknown"
    run_round(2)
    assert get_batch().state == "unknown"  # it is looked at, and has not ended
    fake_llm.desk.is_endless = False
    fake_llm.desk.batches["batch_1"]["status"] = "validating"
    run_round(2)
    assert (get_batch().state, get_status(event)) == ("finished", ("running", ""))
    assert take_step(event) == "ok"
    assert (fake_llm.desk.asked["create"], fake_llm.calls["e1"]) == (1, 1)


def test_a_batch_that_was_given_up_is_not_looked_for_for_ever(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    make_waiting("e1")
    give_up(fake_llm)
    let_time_pass(days=4)
    asked = fake_llm.desk.asked["retrieve"]
    run_round(3)
    assert fake_llm.desk.asked["retrieve"] == asked


@pytest.mark.parametrize("end", ["cancelled", "expired", "failed"])
def test_answers_that_are_counted_and_not_given_may_be_paid_and_are_held(
    end: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.end_as, fake_llm.desk.keeps_results = end, True
    event = make_waiting("e1")
    run_round(2)
    assert get_states() == {"e1": "unknown"}
    assert "counts 1 answered calls and gave 0" in get_batch().problem
    assert take_step(event) == "llm_outcome_unknown"
    assert (fake_llm.calls["e1"], fake_llm.desk.asked["create"]) == (1, 1)
    assert fake_llm.desk.files  # a person may ask the provider about them


def test_a_count_that_agrees_with_the_answers_leaves_the_others_unpaid(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.desk.end_as = "expired"
    make_waiting("e1: done"), make_waiting("e2")
    run_round()
    counts = {"total": 2, "completed": 1, "failed": 0}
    fake_llm.desk.batches["batch_1"]["request_counts"] = counts
    run_round()
    assert get_states() == {"e1: done": "answered", "e2": "refused"}


# --- Held events of which a late line tells -------------------------------------------------


def end_late(fake_llm: FakeLLM, end_as: str = "completed") -> None:
    fake_llm.desk.is_endless, fake_llm.desk.end_as = False, end_as
    fake_llm.desk.batches["batch_1"]["status"] = "validating"
    run_round(2)
    assert get_batch().state == "finished"


@pytest.mark.parametrize(("behaviour", "end"), [("500", "completed"), ("ok", "expired")])
def test_a_late_line_that_says_not_paid_lets_the_held_event_be_asked_again(
    behaviour: str, end: str, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", behaviour, "ok")
    event = make_waiting("e1")
    give_up(fake_llm)
    assert take_step(event) == "llm_outcome_unknown"
    end_late(fake_llm, end)
    assert get_status(event) == ("running", "")
    assert take_step(event) == "ok"


def test_an_event_that_a_budget_holds_since_goes_on_with_the_late_answer(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    give_up(fake_llm)
    take_step(event)
    Budget.objects.create(period="day", limit_usd=Decimal("0.000001"))
    Event.objects.filter(pk=event.pk).update(run=2, status="running")  # a person calls it again
    assert take_step(event) == "budget_spent"
    end_late(fake_llm)
    assert get_status(event) == ("running", "")
    assert not BudgetWait.objects.exists()
    assert take_step(event) == "ok"
    assert fake_llm.calls["e1"] == 1


def test_an_event_that_waits_for_a_budget_and_has_no_answer_stays_held(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500")
    event = make_waiting("e1")
    give_up(fake_llm)
    take_step(event)
    Budget.objects.create(period="day", limit_usd=Decimal("0.000001"))
    Event.objects.filter(pk=event.pk).update(run=2, status="running")
    assert take_step(event) == "budget_spent"
    end_late(fake_llm)
    assert get_status(event) == ("held", "budget_spent")


def test_a_retry_whose_call_a_late_line_tells_uses_it_and_pays_nothing(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    give_up(fake_llm)
    take_step(event)
    Event.objects.filter(pk=event.pk).update(
        run=2, status="queued"
    )  # its workflow is not there yet
    end_late(fake_llm)
    assert get_status(event)[0] == "queued"
    assert take_step(event) == "ok"
    assert fake_llm.calls["e1"] == 1


def test_a_call_that_was_made_again_since_is_no_line_that_can_not_be_read(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "ok")
    first, other = make_waiting("e1: done"), make_waiting("e2")
    give_up(fake_llm)
    take_step(first), take_step(other)
    Event.objects.filter(pk=first.pk).update(run=2, status="running")
    type(first.pipeline_version).objects.update(may_wait_h=0)
    assert take_step(first) == "ok"
    end_late(fake_llm, "expired")
    assert LLMBatch.objects.get().problem == "The provider did not finish it in 24 hours."
    assert get_states() == {"e1: done": "answered", "e2": "refused"}
    assert LLMCall.objects.get(event=first).fence == 2


def test_an_event_that_was_held_just_after_its_line_was_read_goes_on(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    run_round(2)
    held = {"status": "held", "error_code": "llm_outcome_unknown", "waiting_until": None}
    Event.objects.filter(pk=event.pk).update(**held)  # its step had read the ledger before
    run_round()
    assert get_status(event) == ("running", "")


def test_an_event_that_goes_on_without_a_workflow_is_found_by_the_reconciler(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    give_up(fake_llm)
    take_step(event)
    end_late(fake_llm)  # Temporal does not answer here: nothing was started
    event.refresh_from_db()
    (stalled,) = Event.find_stalled(event.changed_at + event.changed_at.resolution, 10)
    assert stalled.workflow_id == event.workflow_id


def test_what_a_person_has_marked_as_failed_stays_so_and_a_retry_uses_the_late_answer(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    give_up(fake_llm)
    take_step(event)
    event.refresh_from_db()
    assert event.fail("marked_failed", "by a person")
    end_late(fake_llm)
    assert get_status(event) == ("dead", "marked_failed")
    Event.objects.filter(pk=event.pk).update(run=2, status="running")
    assert take_step(event) == "ok"
    assert fake_llm.calls["e1"] == 1
