"""Events that wait for one model do not hold up those of another pipeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.destinations.models import Destination
from apps.events.models import Event, Step
from apps.llm import breaker
from apps.llm.lanes import get_lane
from apps.llm.provider import ProviderFailed
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from workers.dispatcher import count_room

Post = Callable[..., str]


def wait(event: Event, seconds: float) -> None:
    until = timezone.now() + timedelta(seconds=seconds)
    assert event.note_failure(Step.LLM, "llm_rate_limited", "It waits.", until)


@pytest.mark.django_db
def test_what_waits_is_counted_apart(helpdesk: Source) -> None:
    waiting, due, running = (make_event(helpdesk) for _ in range(3))
    wait(waiting, 60)
    wait(due, -1)
    running.start()
    assert Event.count_active(10) == 2
    assert Event.count_waiting(10) == 1
    waiting.deliver()
    assert Event.count_waiting(10) == 0


def test_it_stops_reading_while_enough_events_wait(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    settings.OPEN_WORKFLOWS_MAX = 2
    settings.WAITING_WORKFLOWS_MAX = 3
    for _ in range(6):
        post(helpdesk)
    rig.start_dispatcher()
    wait_until(lambda: Event.objects.count() == 2, what="two events")
    let_wait()
    wait_until(lambda: Event.objects.count() == 4, what="two more, though two wait")
    let_wait()
    assert count_room() == 0
    for event in Event.objects.all()[:2]:
        event.deliver()
    wait_until(lambda: Event.objects.count() == 6, what="the last two, after some went on")


def test_300_that_wait_for_a_model_do_not_hold_up_another_pipeline(
    rig: Rig, helpdesk: Source, triage: Pipeline, post: Post, settings: Any, fake_llm: FakeLLM
) -> None:
    settings.OPEN_WORKFLOWS_MAX = 30
    settings.LLM_BREAKER_FAILURES = 5
    for _ in range(5):
        breaker.Passage(get_lane("test-model")).settle(ProviderFailed(), Decimal(0))
    for _ in range(300):
        post(helpdesk)
    rig.start_worker()
    rig.start_dispatcher()
    wait_until(lambda: Event.count_waiting(1000) == 300, 60, "300 waiting events")
    triage.publish(prompt="{{ text }}", model="other-model", destination=get_inbox(helpdesk))
    wait_for_status(post(helpdesk), "delivered")
    assert fake_llm.calls.total() == 1
    assert Event.count_waiting(1000) == 300
    assert not Event.objects.filter(status="dead").exists()


def let_wait() -> None:
    for event in Event.objects.filter(waiting_until=None):
        wait(event, 60)


def get_inbox(source: Source) -> Destination:
    version = source.pipeline.current_version
    assert version is not None
    return version.destination
