"""Limits that all workers share: real Valkey, a real provider that counts for itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm import limits
from apps.llm.lanes import Lane, ModelLimits
from apps.llm.limit_headers import Allowance, SeenLimits
from apps.llm.limits import LimitReached, Place
from apps.llm.models import LLMCall
from apps.llm.provider import Completion, LLMError, ProviderUnreachable, RateLimited
from apps.pipelines.prepare import PreparedRequest
from apps.streams.clients import get_client
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask
from tests.waiting import wait_until
from workers.contracts import Verdict


@pytest.fixture(autouse=True)
def _own_queue(settings: Any, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]
    get_client(valkey_url).flushall()


def make_lane(calls: int = 0, tokens: int = 0, at_once: int = 0) -> Lane:
    return Lane("provider", "model", ModelLimits(calls, tokens, at_once))


def make_request(tokens: int = 10) -> PreparedRequest:
    return PreparedRequest({"messages": [], "max_tokens": tokens}, "", {})


def take(lane: Lane, event: Event | None = None, tokens: int = 10) -> Place:
    return limits.take(lane, event or Event(), make_request(tokens))


def get_wait_s(lane: Lane, event: Event | None = None, tokens: int = 10) -> float:
    with pytest.raises(LimitReached) as caught:
        take(lane, event, tokens)
    assert caught.value.verdict == Verdict.WAIT
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def answered(tokens: int = 10, **seen: Any) -> Completion:
    return Completion("ok", "", tokens, 0, "", SeenLimits(**seen))


def settle(place: Place, outcome: Completion | LLMError) -> None:
    place.settle(outcome, Decimal(0))


def test_processes_together_keep_the_limit_by_the_providers_own_count(
    fake_llm: FakeLLM, valkey_url: str
) -> None:
    fake_llm.per_minute = 1200
    environ = os.environ | {
        "QUEUE_URL": valkey_url,
        "OPENAI_BASE_URL": fake_llm.base_url,
        "LLM_REQUESTS_PER_MINUTE": "1200",
        "LLM_CONCURRENCY": "30",
    }
    command = [sys.executable, "-m", "tests.llm.limited_calls", "70"]
    processes = [subprocess.Popen(command, env=environ) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert fake_llm.calls.total() == 140
    assert fake_llm.violations == 0


def test_those_that_wait_come_back_one_after_the_other() -> None:
    lane = make_lane(calls=60)
    take(lane)
    waits = [get_wait_s(lane) for _ in range(50)]
    apart = [later - earlier for earlier, later in pairwise(waits)]
    assert min(apart) > 0.8
    assert sum(apart) / len(apart) == pytest.approx(61 / 60, abs=0.05)


def test_whoever_comes_in_its_turn_is_before_a_newcomer() -> None:
    lane, event = make_lane(calls=120), Event()
    take(lane)
    take(lane)
    time.sleep(get_wait_s(lane, event))
    get_wait_s(lane)
    assert take(lane, event)


def test_whoever_comes_too_early_keeps_its_turn() -> None:
    lane, event = make_lane(calls=10), Event()
    take(lane)
    first = get_wait_s(lane, event)
    get_wait_s(lane)
    assert first - 1 < get_wait_s(lane, event) <= first


def test_turns_that_nobody_comes_to_are_not_waited_for() -> None:
    lane = make_lane(calls=60)
    take(lane)
    for _ in range(30):
        get_wait_s(lane)
    fast = make_lane(calls=6000)  # the limit is raised, and those who wait sleep on
    assert wait_until(lambda: take_or_none(fast), 10)


def take_or_none(lane: Lane, event: Event | None = None, tokens: int = 10) -> Place | None:
    try:
        return take(lane, event, tokens)
    except LimitReached:
        return None


def test_what_a_call_did_not_use_is_given_back(valkey_url: str) -> None:
    lane = make_lane(tokens=6000)
    place = take(lane, tokens=3000)
    assert get_wait_s(lane, tokens=3000) > 30
    settle(place, answered(tokens=100))
    get_client(valkey_url).hdel(f"pipeline:llm:lane:{lane.id}", "book")
    assert get_wait_s(lane, tokens=3000) < 5


@pytest.mark.parametrize("tokens", [100, 500, 6000])
def test_no_minute_has_more_tokens_than_the_limit(tokens: int) -> None:
    lane = make_lane(tokens=6_000 + tokens * 10)
    at_once = 0
    while take_or_none(lane, tokens=tokens):
        at_once += 1
    waits = [get_wait_s(lane, tokens=tokens) for _ in range(100)]
    in_a_minute = (at_once + 1 + sum(wait < 60 for wait in waits)) * tokens
    assert 0.8 < in_a_minute / (6_000 + tokens * 10) <= 1


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    lane = make_lane(tokens=1000)
    assert take(lane, tokens=5000)
    assert get_wait_s(lane) > 60


def test_so_many_calls_at_once_and_no_more() -> None:
    lane, event = make_lane(at_once=2), Event()
    first, _ = take(lane), take(lane)
    get_wait_s(lane, event)
    settle(first, answered())
    assert wait_until(lambda: take_or_none(lane, event))
    get_wait_s(lane)


def test_the_seat_of_a_killed_worker_frees_itself(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LLM_TIMEOUT_S = 0.3
    monkeypatch.setattr(limits, "SEAT_MARGIN_S", 0.0)
    lane, event = make_lane(at_once=1), Event()
    take(lane)
    get_wait_s(lane, event)
    assert wait_until(lambda: take_or_none(lane, event))


def test_what_never_left_is_given_back() -> None:
    lane = make_lane(calls=1, tokens=10, at_once=1)
    take(lane).give_back()
    settle(take(lane), ProviderUnreachable())
    take(lane)
    get_wait_s(lane)


@pytest.mark.django_db
def test_retry_after_holds_for_all() -> None:
    lane = make_lane()
    settle(take(lane), RateLimited(retry_after_s=30, seen=SeenLimits(retry_after_s=30)))
    waits = [get_wait_s(lane) for _ in range(10)]
    assert min(waits) > 28
    assert max(waits) > min(waits)


def test_whoever_was_refused_comes_before_those_that_were_not_asked() -> None:
    lane, event = make_lane(calls=600), Event()
    limited = RateLimited(retry_after_s=0.2, seen=SeenLimits(retry_after_s=0.2))
    settle(take(lane, event), limited)
    for _ in range(20):
        get_wait_s(lane)
    assert wait_until(lambda: take_or_none(lane, event), 1.5)


def test_what_the_provider_says_is_left_holds_for_all() -> None:
    lane = make_lane()
    settle(take(lane), answered(requests=Allowance(60, 5, 55)))
    settle(take(lane), answered(requests=Allowance(60, 0, 60)))
    assert 0 < get_wait_s(lane) <= 1  # of 60 a minute, one is back after a second


def test_a_429_halves_the_rate_once_for_all_calls_under_way() -> None:
    lane = make_lane(calls=60)
    while not (places := get_three(lane)):
        pass
    for place in places:
        settle(place, RateLimited(retry_after_s=0.0))
    waits = [get_wait_s(lane) for _ in range(10)]
    assert waits[-1] - waits[0] == pytest.approx(9 * 61 / 30, rel=0.1)


def get_three(lane: Lane) -> list[Place]:
    """As if three had left at once."""
    place = take(lane)
    return [place, place, place]


def test_zero_turns_the_adapting_off(settings: Any) -> None:
    settings.LLM_ADAPTIVE = False
    lane = make_lane()
    settle(take(lane), RateLimited(retry_after_s=30, seen=SeenLimits(retry_after_s=30)))
    assert take(lane)


def test_without_the_queue_server_each_process_counts_for_itself(settings: Any) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1/0"]
    lane = Lane("alone", "model", ModelLimits(60, 0, 0))
    take(lane)
    assert 0 < get_wait_s(lane) <= 2
    lane = Lane("alone", "seats", ModelLimits(0, 0, 1))
    place = take(lane)
    get_wait_s(lane)
    settle(place, answered())
    take(lane)


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_has_promised_nothing(
    settings: Any, ask: Ask, make_case: Callable[[str], Event], fake_llm: FakeLLM
) -> None:
    settings.LLM_REQUESTS_PER_MINUTE = 1
    assert ask(make_case("first")).answer
    with pytest.raises(LimitReached):
        ask(make_case("second"))
    assert fake_llm.calls.total() == LLMCall.objects.count() == 1
