"""Calls of a pipeline that may wait go in batches, at half the price, and are paid once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.events.models import Event
from apps.llm import ledger
from apps.llm.batch_lines import Line
from apps.llm.batch_models import LLMBatch
from apps.llm.batch_results import settle
from apps.llm.batches import run_due
from apps.llm.models import Budget, BudgetPeriod, LLMCall
from tests.fixtures.batches import (
    MakeWaiting,
    get_states,
    let_time_pass,
    run_round,
    take_step,
)
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db(transaction=True)
ONE_CALL = Decimal("1.2")  # 120 tokens of a cent


def test_an_event_waits_for_its_batch_and_goes_on_with_its_answer(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    assert (event.status, event.is_parked) == ("running", True)
    assert fake_llm.calls["e1"] == 0
    run_round(2)
    event.refresh_from_db()
    assert (event.is_parked, event.waiting_until, event.error_code) == (False, None, "")
    assert take_step(event) == "ok"
    assert fake_llm.calls["e1"] == 1
    event.refresh_from_db()
    assert (event.answer, event.cost_usd) == ({"category": "x"}, ONE_CALL / 2)


def test_the_answer_costs_half_and_says_what_was_saved(make_waiting: MakeWaiting) -> None:
    make_waiting("e1"), make_waiting("e2")
    run_round(2)
    call = LLMCall.objects.first()
    batch = LLMBatch.objects.get()
    assert call
    assert (call.cost_usd, call.saved_usd) == (ONE_CALL / 2, ONE_CALL / 2)
    assert (batch.state, batch.size, batch.answered) == ("finished", 2, 2)
    assert (batch.cost_usd, batch.saved_usd) == (ONE_CALL, ONE_CALL)


def test_the_share_of_the_price_is_a_setting(make_waiting: MakeWaiting, settings: Any) -> None:
    settings.LLM_BATCH_PRICE = 0.25
    make_waiting("e1")
    run_round(2)
    assert LLMCall.objects.get().cost_usd == ONE_CALL / 4


def test_the_first_look_at_an_answer_is_no_reuse_and_the_second_is(
    make_waiting: MakeWaiting,
) -> None:
    event = make_waiting("e1")
    run_round(2)
    assert [take_step(event), take_step(event)] == ["ok", "reused"]
    assert LLMCall.objects.get().reused_count == 1


def test_a_batch_is_paid_for_once_however_often_it_is_looked_at(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    for _ in range(4):
        assert take_step(event) in ("llm_batch_waiting", "ok", "reused")
        run_round()
    assert fake_llm.calls["e1"] == 1
    assert fake_llm.desk.asked["create"] == 1


def test_a_retry_by_a_person_while_the_call_is_in_a_batch_pays_nothing(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    run_round()
    Event.objects.filter(pk=event.pk).update(run=2, error_code="", waiting_until=None)
    assert take_step(event) == "llm_batch_waiting"
    run_round(2)
    assert take_step(event) == "ok"
    assert fake_llm.calls.total() == 1


def test_a_budget_reserves_the_price_of_the_batch_and_settles_it(
    make_waiting: MakeWaiting,
) -> None:
    Budget.objects.create(period="day", limit_usd=Decimal(1000))
    event = make_waiting("e1")
    call = event.llm_calls.get()
    bytes_of_body = 1
    reserved = BudgetPeriod.objects.get().reserved_micros
    assert reserved == call.reserved_micros > bytes_of_body
    run_round(2)
    period = BudgetPeriod.objects.get()
    assert (period.reserved_micros, period.spent_micros) == (0, 600_000)


def test_a_spent_budget_holds_the_event_before_anything_waits(
    make_waiting: MakeWaiting,
) -> None:
    event = make_waiting("e1")
    run_round(2)
    Budget.objects.create(period="day", limit_usd=Decimal("0.000001"))
    LLMCall.objects.all().delete()
    assert take_step(event) == "budget_spent"
    assert not LLMCall.objects.exists()


def test_calls_are_gathered_until_they_are_many_or_old(
    make_waiting: MakeWaiting, settings: Any
) -> None:
    settings.LLM_BATCH_GATHER_S = 300
    settings.LLM_BATCH_CALLS = 2
    make_waiting("e1")
    run_due()
    assert not LLMBatch.objects.exists()
    make_waiting("e2"), make_waiting("e3")
    run_due()
    assert LLMBatch.objects.get().size == 2
    let_time_pass(seconds=301)
    run_due()
    assert sorted(LLMBatch.objects.values_list("size", flat=True)) == [1, 2]


def test_a_file_grows_no_larger_than_it_may(make_waiting: MakeWaiting, settings: Any) -> None:
    settings.LLM_BATCH_BYTES = 1000  # one call alone is larger
    make_waiting("e1"), make_waiting("e2")
    run_due()
    run_due()
    assert list(LLMBatch.objects.values_list("size", flat=True)) == [1, 1]


def test_an_answer_off_the_schema_is_repaired_in_another_batch(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "wrong-schema", "ok")
    event = make_waiting("e1")
    run_round(2)
    assert take_step(event) == "llm_batch_waiting"
    run_round(2)
    assert take_step(event) == "ok"
    assert list(event.llm_calls.values_list("step", "problem")) == [
        ("llm", "answer_off_schema"),
        ("llm:repair", ""),
    ]
    event.refresh_from_db()
    assert event.cost_usd == ONE_CALL


def test_an_answer_that_cannot_be_used_is_a_dead_letter_of_its_price(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1: refusal")
    run_round(2)
    assert take_step(event) == "answer_refused"
    assert event.llm_calls.get().cost_usd == ONE_CALL / 2


def test_a_discarded_event_takes_its_call_out_where_no_batch_has_it(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    Budget.objects.create(period="day", limit_usd=Decimal(1000))
    event = make_waiting("e1")
    assert event.discard()
    run_round(2)
    assert get_states() == {"e1": "refused"}
    assert BudgetPeriod.objects.get().reserved_micros == 0
    assert fake_llm.calls.total() == 0


def test_what_a_discarded_event_has_in_a_batch_is_paid_and_counted(
    make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    event = make_waiting("e1")
    run_round()
    assert event.discard()
    run_round(2)
    event.refresh_from_db()
    assert (event.status, get_states()) == ("discarded", {"e1": "answered"})


def test_an_event_that_goes_on_is_not_discarded(make_waiting: MakeWaiting) -> None:
    event = make_waiting("e1")
    run_round(2)
    assert not event.discard()


def test_an_answer_that_came_while_its_event_was_being_parked_wakes_it(
    make_waiting: MakeWaiting,
) -> None:
    event = make_waiting("e1")
    run_round(2)
    late = timezone.now() + timedelta(hours=24)
    Event.objects.filter(pk=event.pk).update(error_code="llm_batch_waiting", waiting_until=late)
    run_round()
    event.refresh_from_db()
    assert not event.is_parked


def test_events_that_wait_in_batches_take_no_room_and_no_workflow(
    make_waiting: MakeWaiting,
) -> None:
    make_waiting("e1")
    assert (Event.count_active(10), Event.count_waiting(10)) == (0, 0)
    assert Event.find_stalled(timezone.now() + timedelta(hours=1), 10) == []


def test_a_slow_reader_changes_nothing_of_a_call_that_was_made_again(
    make_waiting: MakeWaiting,
) -> None:
    event = make_waiting("e1")
    run_round()
    call = LLMCall.objects.get()
    old, line = call.fence, Line(f"call-{call.pk}-{call.fence}", refusal="http_429")
    settle(call.pk, old, line)  # by the quick one
    call.refresh_from_db()
    again = ledger.reopen(call, event)
    assert again
    settle(call.pk, old, line)
    again.refresh_from_db()
    assert again.state == "intent"
