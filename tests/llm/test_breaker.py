"""A provider that fails is left alone: real Valkey, real fake provider."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm import breaker
from apps.llm.breaker import BreakerOpen
from apps.llm.lanes import get_lane
from apps.llm.provider import LLMError, ProviderFailed, ProviderRefused, RateLimited
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.streams.clients import get_client
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask
from tests.waiting import wait_until
from workers.contracts import Verdict

Case = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)
PAUSE_S = 0.3


@pytest.fixture(autouse=True)
def _own_queue(settings: Any, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_BREAKER_PAUSE_S = PAUSE_S
    get_client(valkey_url).flushall()


def fail(ask: Ask, event: Event, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises((ProviderFailed, RateLimited)):
            ask(event)


def try_again(ask: Ask, event: Event) -> object:
    """As the workflow does: ask until nobody says to wait."""

    def once() -> object:
        try:
            return ask(event).answer
        except BreakerOpen:
            return None

    return wait_until(once, 5)


def test_five_failures_in_a_row_open_it(fake_llm: FakeLLM, ask: Ask, make_case: Case) -> None:
    fail(ask, make_case("down: 500 429 503 500 429"), times=5)
    with pytest.raises(BreakerOpen) as caught:
        ask(make_case("other"))
    assert caught.value.verdict == Verdict.WAIT
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 0
    assert fake_llm.calls["other"] == 0
    (found,) = breaker.find_open()
    assert (found.model, found.code) == ("test-model", "llm_rate_limited")


def test_a_success_between_begins_anew(ask: Ask, make_case: Case) -> None:
    for round in ("a", "b", "c"):
        fail(ask, make_case(f"{round}: 500"), times=3)
        ask(make_case(f"{round}-ok"))
    assert breaker.find_open() == []


def test_a_4xx_is_an_answer(ask: Ask, make_case: Case) -> None:
    event = make_case("bad: 400")
    for _ in range(7):
        with pytest.raises(ProviderRefused):
            ask(event)
    assert breaker.find_open() == []


def test_unknown_outcomes_count_too(fake_llm: FakeLLM, ask: Ask, make_case: Case) -> None:
    for number in range(5):
        with pytest.raises(LLMError):
            ask(make_case(f"lost-{number}: reset"))
    assert [found.code for found in breaker.find_open()] == ["llm_outcome_unknown"]


def test_one_call_probes_and_closes_it(fake_llm: FakeLLM, ask: Ask, make_case: Case) -> None:
    fail(ask, make_case("down: 500"), times=5)
    assert try_again(ask, make_case("probe"))
    assert breaker.find_open() == []
    assert ask(make_case("next")).answer


def test_of_many_that_come_at_once_one_probes(ask: Ask, make_case: Case) -> None:
    fail(ask, make_case("down: 500"), times=5)
    lane = get_lane("test-model")
    probe = wait_until(pass_or_none, 5)
    assert probe.lane == lane
    assert [pass_or_none() for _ in range(20)] == [None] * 20
    probe.give_back()  # it had to wait for something else: another may probe
    assert pass_or_none()


def pass_or_none() -> Any:
    try:
        return breaker.ask(get_lane("test-model"))
    except BreakerOpen:
        return None


def test_a_probe_that_fails_waits_and_uses_no_attempt(ask: Ask, make_case: Case) -> None:
    fail(ask, make_case("down: 500"), times=5)

    def probe() -> ProviderFailed | None:
        try:
            ask(make_case("probe: 500"))
        except BreakerOpen:
            return None
        except ProviderFailed as error:
            return error
        raise AssertionError

    error = wait_until(probe, 5)
    assert error is not None
    assert error.verdict == Verdict.WAIT
    assert error.retry_after_s == PAUSE_S
    with pytest.raises(BreakerOpen):
        ask(make_case("next"))


def test_a_lost_probe_that_is_called_again_uses_no_attempt(
    ask: Ask, make_case: Case, helpdesk: Source, triage: Pipeline
) -> None:
    version = triage.current_version
    assert version is not None
    triage.publish(
        prompt="{{ text }}", model="test-model", destination=version.destination,
        on_unknown="call_again",
    )  # fmt: skip
    helpdesk.pipeline.refresh_from_db()
    fail(ask, make_case("down: 500"), times=5)
    event = make_case("probe: reset")

    def probe() -> LLMError | None:
        try:
            ask(event)
        except BreakerOpen:
            return None
        except LLMError as error:
            return error
        raise AssertionError

    error = wait_until(probe, 5)
    assert error is not None
    assert (error.code, error.verdict) == ("llm_call_lost", Verdict.WAIT)


def test_an_admin_closes_it_by_hand(settings: Any, ask: Ask, make_case: Case) -> None:
    settings.LLM_BREAKER_PAUSE_S = 60
    fail(ask, make_case("down: 500"), times=5)
    (found,) = breaker.find_open()
    assert breaker.close(found.id)
    assert not breaker.close(found.id)
    assert ask(make_case("next")).answer


def test_those_that_wait_come_back_apart(settings: Any, ask: Ask, make_case: Case) -> None:
    settings.LLM_BREAKER_PAUSE_S = 60
    fail(ask, make_case("down: 500"), times=5)
    wakings = []
    for _ in range(100):
        with pytest.raises(BreakerOpen) as caught:
            breaker.ask(get_lane("test-model"))
        wait_s = caught.value.retry_after_s or 0
        assert wait_s <= 60 + 100 * 0.05
        wakings.append(time.monotonic() + wait_s)
    # 100 of them 0.05 s apart, give or take how long the asking took.
    assert max(wakings) - min(wakings) > 4
    assert len({round(at, 1) for at in wakings}) > 25


def test_without_the_queue_server_calls_leave(settings: Any, ask: Ask, make_case: Case) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1/0"]
    fail(ask, make_case("down: 500"), times=7)


def test_zero_turns_it_off(settings: Any, ask: Ask, make_case: Case) -> None:
    settings.LLM_BREAKER_FAILURES = 0
    fail(ask, make_case("down: 500"), times=12)
