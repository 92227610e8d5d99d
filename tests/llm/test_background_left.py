"""A background call that no workflow waits for is stopped, or read; or looked up by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from apps.events.models import Event, Status, Step
from apps.events.unknown_outcomes import LookUp, look_up_answer, mark_failed
from apps.llm import background, background_watch, responses_api
from apps.llm.background_watch import watch
from apps.llm.lookup import can_look_up
from apps.llm.models import Budget, LLMCall, Provider
from apps.llm.responses_api import ResponseMissing, StillAtWork
from apps.llm.trial import DRY_RUN, Trial, try_once
from apps.pipelines.models import Pipeline, PipelineVersion
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.background_cases import begin, fail_with, grow_missing, grow_old, hold
from tests.llm.conftest import Ask, prepare_event
from tests.llm.test_providers import make_provider

MakeCase = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_background(settings: Any, valkey_url: str) -> None:
    settings.LLM_BACKGROUND = True
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_BREAKER_FAILURES = 0
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 10, 100


@pytest.fixture
def make_late(make_case: MakeCase, ask: Ask, settings: Any) -> Callable[[str], Event]:
    """An event that is held because its response took too long."""

    def make(marker: str) -> Event:
        event = make_case(marker)
        grow_old(begin(ask, event), settings.LLM_BACKGROUND_TIMEOUT_S)
        hold(ask, event)
        return event

    return make


def kill_workers_until_dead(event: Event) -> None:
    """As it ends when five workers died while the provider was at work."""
    assert event.bury(Step.LLM, "worker_lost", "The worker stopped answering.")


def attempt(event: Event) -> Trial:
    return try_once(event, event.pipeline_version, prepare_event(event), DRY_RUN, again=True)


def give_up(event: Event, settings: Any) -> None:
    """A dry run that waits for two seconds only."""
    settings.LLM_TIMEOUT_S = 2
    with pytest.raises(StillAtWork):
        attempt(event)


def test_a_late_answer_is_looked_up_by_its_id_and_the_event_goes_on_free(
    make_late: MakeCase, ask: Ask, fake_llm: FakeLLM, bob: Any
) -> None:
    event = make_late("e1: bg:queued,ok")
    assert can_look_up(event.llm_calls.all())
    assert look_up_answer(event, bob) == LookUp.FOUND
    event.refresh_from_db()
    assert (event.status, event.run) == (Status.RUNNING, 1)
    assert ask(event).reused
    assert fake_llm.calls["e1"] == 1
    assert event.llm_calls.get().cost_usd == Decimal("0.003")


def test_one_that_is_still_at_work_is_left_at_work(
    make_late: MakeCase, fake_llm: FakeLLM, bob: Any
) -> None:
    event = make_late("e1: bg:queued")
    with pytest.raises(StillAtWork):
        look_up_answer(event, bob)
    assert Event.objects.get().status == Status.HELD
    assert fake_llm.cancelled == []


@pytest.mark.parametrize(("word", "state"), [("gone", "unknown"), ("failed/x", "refused")])
def test_one_that_has_no_answer_is_not_looked_up_again(
    make_late: MakeCase, fake_llm: FakeLLM, bob: Any, word: str, state: str
) -> None:
    event = make_late(f"e1: bg:queued,{word}")
    if word == "gone":
        with pytest.raises(ResponseMissing):
            look_up_answer(event, bob)
        grow_missing(event.llm_calls.get(), background.MISSING_FOR)
    assert look_up_answer(event, bob) == LookUp.NOT_FOUND
    call = event.llm_calls.get()
    assert (call.state, call.is_response_open) == (state, False)
    assert Event.objects.get().status == Status.HELD


@pytest.mark.parametrize("verb", ["discard", "mark failed"])
def test_what_nobody_needs_any_more_is_stopped_at_the_provider(
    make_late: MakeCase, fake_llm: FakeLLM, bob: Any, verb: str
) -> None:
    event = make_late("e1: bg:queued")
    assert watch() == 0  # a person may still want it
    assert event.discard() if verb == "discard" else mark_failed(event, bob)
    assert watch() == 1
    assert fake_llm.cancelled == ["resp_1"]
    assert event.llm_calls.get().state == "unknown"
    assert watch() == 0  # once
    assert fake_llm.cancelled == ["resp_1"]


def test_an_answer_that_was_quicker_than_the_discarding_is_counted(
    make_late: MakeCase, fake_llm: FakeLLM, ask: Ask
) -> None:
    event = make_late("e1: bg:queued,ok")
    assert event.discard()
    assert watch() == 1
    call = event.llm_calls.get()
    assert (call.state, call.cost_usd) == ("answered", Decimal("0.003"))
    assert fake_llm.cancelled == []


def test_a_dead_letters_answer_is_read_and_its_retry_is_free(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    budget = Budget.objects.create(limit_usd=Decimal(10), period="day")
    event = make_case("e1: bg:queued,ok")
    begin(ask, event)
    assert watch() == 0  # its workflow asks
    kill_workers_until_dead(event)
    assert watch() == 0  # not yet
    assert watch() == 1
    period = budget.periods.get()
    assert (period.reserved_micros, period.spent_micros) == (0, 3000)
    assert event.retry()
    assert ask(event).reused
    assert fake_llm.calls["e1"] == 1


def test_a_retry_before_that_goes_on_with_the_same_call(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:queued,ok")
    begin(ask, event)
    kill_workers_until_dead(event)
    assert event.retry()
    fail_with(ask, event, StillAtWork)
    assert ask(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


def test_a_discarded_call_under_way_is_stopped_and_its_estimate_spent(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    budget = Budget.objects.create(limit_usd=Decimal(10), period="day")
    event = make_case("e1: bg:queued")
    call = begin(ask, event)
    kill_workers_until_dead(event)
    assert event.discard()
    assert watch() == 1
    assert fake_llm.cancelled == ["resp_1"]
    period = budget.periods.get()
    assert (period.reserved_micros, period.spent_micros) == (0, call.reserved_micros)


def test_a_provider_that_is_away_is_asked_to_stop_later(
    make_late: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_late("e1: bg:queued")
    assert event.discard()
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    assert watch() == 0
    settings.OPENAI_BASE_URL = fake_llm.base_url
    assert watch() == 1
    assert fake_llm.cancelled == ["resp_1"]


def test_a_provider_that_is_away_keeps_no_other_one_waiting(
    triage: Pipeline, make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    events = [make_case(f"e{number}: bg:queued") for number in range(8)]
    make_provider(second_llm.base_url)
    Provider.objects.update(in_background=True)
    for event in events[1:]:  # all but one are at a provider that is gone by then
        PipelineVersion.objects.update(provider="backup")
        event.refresh_from_db()
        begin(ask, event)
    PipelineVersion.objects.update(provider="")
    events[0].refresh_from_db()
    begin(ask, events[0])
    for event in events:
        kill_workers_until_dead(event)
        assert event.discard()
    Provider.objects.update(base_url=f"http://127.0.0.1:{free_ports(1)[0]}/v1", sealed_key="")
    assert watch() == 1
    assert fake_llm.cancelled == ["resp_1"]


@pytest.mark.parametrize("hangs", ["look", "cancel"])
def test_a_provider_that_hangs_has_a_bounded_time(
    make_case: MakeCase,
    ask: Ask,
    fake_llm: FakeLLM,
    second_llm: FakeLLM,
    monkeypatch: pytest.MonkeyPatch,
    hangs: str,
) -> None:
    monkeypatch.setattr(responses_api, "LOOK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(responses_api, "CANCEL_TIMEOUT_S", 0.3)
    events = [make_case(f"e{number}: bg:queued") for number in range(6)]
    for event in events:
        begin(ask, event)
        kill_workers_until_dead(event)
        assert event.discard()
    if hangs == "look":
        for response in fake_llm.responses.values():
            response.plan = ["hang"]
    else:
        fake_llm.cancel_word = "hang"
    began = time.monotonic()
    assert watch() == 0
    assert time.monotonic() - began < 1.5  # one of six was asked
    assert fake_llm.looks.total() == 1


def test_a_provider_that_is_slow_has_no_more_than_its_time(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_watch, "PROVIDER_S", 0.3)
    for number in range(6):
        event = make_case(f"e{number}: bg:in_progress/0.2")
        begin(ask, event)
        kill_workers_until_dead(event)
    assert watch() == 0
    assert 1 <= fake_llm.looks.total() <= 2


def test_a_dry_run_waits_for_the_answer_in_place(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued,ok")
    trial = attempt(event)
    assert (trial.answer, trial.is_reused, trial.cost_usd) == (
        {"category": "x"}, False, Decimal("0.003"),
    )  # fmt: skip
    assert (fake_llm.calls["e1"], fake_llm.looks["e1"]) == (1, 2)


def test_a_dry_run_that_did_not_wait_long_enough_goes_on_with_the_same_call(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued")
    give_up(event, settings)
    fake_llm.responses["resp_1"].plan = ["ok"]
    assert attempt(event).answer == {"category": "x"}
    assert fake_llm.calls["e1"] == 1


def test_a_dry_run_that_nobody_waits_for_is_settled(
    make_case: MakeCase, fake_llm: FakeLLM, settings: Any
) -> None:
    event = make_case("e1: bg:queued")
    give_up(event, settings)
    fake_llm.responses["resp_1"].plan = ["ok"]
    assert watch() == 0  # somebody may be waiting
    grow_old(event.llm_calls.get(), 60)
    assert watch() == 1
    call = LLMCall.objects.get()
    assert (call.step, call.state, call.cost_usd) == (DRY_RUN, "answered", Decimal("0.003"))
    assert attempt(event).answer == {"category": "x"}
