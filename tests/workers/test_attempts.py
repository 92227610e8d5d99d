"""Attempts: how many, when, and what becomes of an event that has none left."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from apps.destinations.kinds import KINDS
from apps.destinations.kinds.base import Delivered
from apps.destinations.models import Destination
from apps.events.models import Event, Step
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.fake_destination import SECRET, FakeDestination
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from workers.contracts import RETRY_AFTER_MAX_S, get_backoff_s

Post = Callable[..., str]


@pytest.fixture
def receiver(triage: Pipeline, fake_destination: FakeDestination) -> FakeDestination:
    """The pipeline's destination, over HTTP."""
    destination = Destination.objects.create(
        slug="crm", name="CRM", kind="http", url=fake_destination.url, secret=SECRET
    )
    triage.publish(prompt="{{ text }}", model="test-model", destination=destination)
    return fake_destination


@pytest.fixture
def busy_rig(rig: Rig, _no_patience: None) -> Rig:
    """Worker and dispatcher, with a twentieth of the real backoff."""
    rig.start_worker()
    rig.start_dispatcher()
    return rig


def get_outcomes(event: Event, step: Step) -> list[tuple[int, str]]:
    return list(event.attempts.filter(step=step).values_list("number", "outcome"))


@pytest.mark.parametrize(
    ("failures", "least_s", "most_s"), [(1, 0.7, 1.3), (2, 1.4, 2.6), (3, 2.8, 5.2), (4, 5.6, 10.4)]
)
def test_it_waits_1_2_4_8_seconds_give_or_take_30_percent(
    failures: int, least_s: float, most_s: float
) -> None:
    assert get_backoff_s(1.0, failures, -1) == pytest.approx(least_s)
    assert get_backoff_s(1.0, failures, 1) == pytest.approx(most_s)


def test_what_a_server_asks_for_is_a_minimum_with_a_limit() -> None:
    assert get_backoff_s(1.0, 1, 0, retry_after_s=7) == 7
    assert get_backoff_s(1.0, 4, 0, retry_after_s=7) == 8
    assert get_backoff_s(1.0, 1, 0, retry_after_s=1e9) == RETRY_AFTER_MAX_S


def test_a_destination_that_fails_five_times_makes_a_dead_letter(
    busy_rig: Rig, helpdesk: Source, receiver: FakeDestination, fake_llm: FakeLLM, post: Post
) -> None:
    receiver.plan = ["500"]
    event = wait_for_status(post(helpdesk), "dead")
    assert (event.step, event.error_code) == ("deliver", "receiver_failed")
    assert event.error == "The destination answered 500."
    assert get_outcomes(event, Step.DELIVER) == [(number, "failed") for number in range(1, 6)]
    assert len(receiver.deliveries) == 5


def test_each_wait_is_about_twice_as_long_as_the_last(
    busy_rig: Rig,
    helpdesk: Source,
    receiver: FakeDestination,
    fake_llm: FakeLLM,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.contracts.BACKOFF_BASE_S", 0.4)
    receiver.plan = ["500"]
    wait_for_status(post(helpdesk), "dead", timeout_s=40)
    arrivals = [delivery.arrived_at for delivery in receiver.deliveries]
    waits = [after - before for before, after in pairwise(arrivals)]
    for wait_s, planned_s in zip(waits, (0.4, 0.8, 1.6, 3.2), strict=True):
        assert 0.7 * planned_s <= wait_s <= 1.3 * planned_s + 1.5  # the machine may be busy


def test_a_failed_delivery_does_not_ask_the_model_again(
    busy_rig: Rig, helpdesk: Source, receiver: FakeDestination, fake_llm: FakeLLM, post: Post
) -> None:
    receiver.plan = ["500", "500", "200"]
    event = wait_for_status(post(helpdesk), "delivered")
    assert fake_llm.calls["e1"] == 1
    assert get_outcomes(event, Step.DELIVER) == [(1, "failed"), (2, "failed"), (3, "ok")]


def test_a_destination_that_refuses_makes_a_dead_letter_at_once(
    busy_rig: Rig, helpdesk: Source, receiver: FakeDestination, fake_llm: FakeLLM, post: Post
) -> None:
    receiver.plan = ["410"]
    event = wait_for_status(post(helpdesk), "dead")
    assert get_outcomes(event, Step.DELIVER) == [(1, "permanent")]


def test_a_retry_delivers_the_answer_that_was_paid_already(
    busy_rig: Rig, helpdesk: Source, receiver: FakeDestination, fake_llm: FakeLLM, post: Post
) -> None:
    receiver.plan = ["410", "200"]
    event = wait_for_status(post(helpdesk), "dead")
    cost_usd = event.cost_usd
    assert event.retry()
    event = wait_for_status(event.pk, "delivered")
    assert fake_llm.calls["e1"] == 1
    assert (event.run, event.cost_usd) == (2, cost_usd)
    assert event.attempts.filter(run=2, step=Step.LLM).get().outcome == "reused"
    assert len({delivery.event_id for delivery in receiver.deliveries}) == 1


def test_waiting_for_a_rate_limit_uses_no_attempt(
    busy_rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    fake_llm.plan("e1", *["429:1"] * 6, "ok")
    event = wait_for_status(post(helpdesk), "delivered", timeout_s=40)
    assert fake_llm.calls["e1"] == 7
    assert get_outcomes(event, Step.LLM) == [(1, "waited"), (1, "ok")]


def test_a_provider_that_fails_five_times_makes_a_dead_letter(
    busy_rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    fake_llm.plan("e1", "500")
    event = wait_for_status(post(helpdesk), "dead")
    assert fake_llm.calls["e1"] == 5
    assert event.step == "llm"


def test_a_failing_event_shows_why_while_it_is_tried_again(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    fake_llm.plan("e1", "500", "ok")
    event_id = post(helpdesk)
    rig.start_worker()
    rig.start_dispatcher()
    failing = Event.objects.filter(pk=event_id, status="running", error_code="llm_provider_failed")
    wait_until(failing.exists, 20, "the first failure")
    assert wait_for_status(event_id, "delivered").error_code == ""


def test_a_bug_counts_as_a_failed_attempt_and_is_shown(
    busy_rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KINDS, "inbox", lambda *_: Delivered(1 // 0))
    event = wait_for_status(post(helpdesk), "dead")
    assert (event.step, event.error_code) == ("deliver", "crashed")
    assert get_outcomes(event, Step.DELIVER) == [(number, "failed") for number in range(1, 6)]
    assert "unexpected error" in event.error
