"""What a call in the background has taken, of money and of limits, is settled whoever reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm import breaker, ledger
from apps.llm.breaker import BreakerOpen
from apps.llm.lanes import get_lane
from apps.llm.limits import LimitReached
from apps.llm.models import Budget, LLMCall
from apps.llm.responses_api import ResponseGone
from apps.llm.responses_format import ResponseFailed
from apps.streams.clients import get_client
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.background_cases import begin, fail_with, grow_old, lose_track
from tests.llm.conftest import Ask

MakeCase = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)
COST = 3_000  # millionths of a dollar: 100 tokens in, 20 out


@pytest.fixture(autouse=True)
def _in_background(settings: Any, valkey_url: str) -> None:
    settings.LLM_BACKGROUND = True
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 10, 100
    settings.LLM_BREAKER_PAUSE_S = 0.3
    get_client(valkey_url).flushall()


@pytest.fixture
def budget(db: None) -> Budget:
    return Budget.objects.create(limit_usd=Decimal(10), period="day")


def get_money(budget: Budget) -> tuple[int, int]:
    """Reserved and spent, in millionths of a dollar."""
    period = budget.periods.get()
    return period.reserved_micros, period.spent_micros


def test_money_stays_reserved_until_the_answer_is_read(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, budget: Budget, settings: Any
) -> None:
    event = make_case("e1: bg:queued,ok")
    call = begin(ask, event)
    assert get_money(budget) == (call.reserved_micros, 0)
    grow_old(call, settings.LLM_TIMEOUT_S + 3600 - 200)  # whoever sent it is long gone
    assert ledger.is_under_way(event.llm_calls.get())
    with pytest.raises(Exception, match="background"):
        ask(event)
    assert get_money(budget) == (call.reserved_micros, 0)
    ask(event)
    assert get_money(budget) == (0, COST)


def test_what_failed_in_the_background_gives_its_money_back(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, budget: Budget
) -> None:
    event = make_case("e1: bg:failed/server_error")
    begin(ask, event)
    fail_with(ask, event, ResponseFailed)
    assert get_money(budget) == (0, 0)


def test_of_a_response_that_is_gone_the_estimate_counts_as_spent(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, budget: Budget
) -> None:
    event = make_case("e1: bg:gone")
    call = begin(ask, event)
    lose_track(ask, event)
    fail_with(ask, event, ResponseGone)
    assert get_money(budget) == (0, call.reserved_micros)


def test_a_call_in_the_background_is_one_of_the_calls_at_once(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_CONCURRENCY = 1
    first, second = make_case("e1: bg:queued,ok"), make_case("e2")
    call = begin(ask, first)
    fail_with(ask, second, LimitReached)
    with pytest.raises(Exception, match="background"):
        ask(first)  # which keeps its seat for longer
    assert get_seat_s(call) == pytest.approx(settings.LLM_TIMEOUT_S + 15, abs=2)
    fail_with(ask, second, LimitReached)
    ask(first)
    get_client(settings.QUEUE_URLS[0]).delete(get_key("lane"), get_key("turns"))  # its appointment
    begin(ask, second)
    assert fake_llm.calls == {"e1": 1, "e2": 1}


def get_key(name: str) -> str:
    return f"pipeline:llm:{name}:{get_lane('test-model').id}"


def get_seat_s(call: LLMCall) -> float:
    """Seconds until the call's seat frees itself."""
    from django.conf import settings

    assert call.kept_seat
    client = get_client(settings.QUEUE_URLS[0])
    ends: Any = client.zscore(get_key("seats"), call.kept_seat["seat"])
    return float(ends) - time.time()


def test_tokens_are_settled_by_what_the_answer_used(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_TOKENS_PER_MINUTE = 10_000
    event = make_case("e1")
    call = begin(ask, event)
    assert call.kept_seat
    taken = call.kept_seat["tokens"]
    assert taken > 120
    client = get_client(settings.QUEUE_URLS[0])
    before: Any = client.hget(get_key("lane"), "tk")
    ask(event)
    after: Any = client.hget(get_key("lane"), "tk")
    assert float(before) - float(after) == pytest.approx((taken - 120) * 62 / (10_000 - taken))


def test_a_provider_that_takes_every_call_and_fails_each_opens_its_breaker(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: bg:failed/server_error")
    for _ in range(5):
        begin(ask, event)
        fail_with(ask, event, ResponseFailed)
    assert len(breaker.find_open()) == 1
    fail_with(ask, make_case("e2"), BreakerOpen)
    assert fake_llm.calls["e2"] == 0


@pytest.mark.parametrize(("plan", "is_open"), [("ok", False), ("bg:failed/server_error", True)])
def test_the_probe_of_a_breaker_succeeds_only_with_its_answer(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any, plan: str, is_open: bool
) -> None:
    settings.LLM_BREAKER_FAILURES = 1
    failing = make_case("e1: bg:failed/server_error")
    begin(ask, failing)
    fail_with(ask, failing, ResponseFailed)
    time.sleep(settings.LLM_BREAKER_PAUSE_S)
    probe = make_case(f"e2: {plan}")
    begin(ask, probe)
    assert breaker.find_open()  # that it was taken says nothing yet
    if is_open:
        fail_with(ask, probe, ResponseFailed)
    else:
        ask(probe)
    assert bool(breaker.find_open()) is is_open
