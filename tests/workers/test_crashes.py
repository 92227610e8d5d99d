"""Parts that are killed in the middle: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from apps.events.models import Event
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.servers import Server
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from tests.workers.processes import Start

Post = Callable[..., str]


def wait_for_call(fake_llm: FakeLLM, marker: str) -> None:
    wait_until(lambda: fake_llm.calls[marker], 30, "the call")


def test_a_worker_killed_during_the_call_leaves_a_held_event_that_was_paid_once(
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    start_process: Start,
) -> None:
    fake_llm.plan("e1", "hang:60")
    event_id = post(helpdesk)
    rig.start_dispatcher()
    worker = start_process("manage.py", "worker")
    wait_for_call(fake_llm, "e1")
    worker.kill()
    worker.wait()
    rig.start_worker()
    event = wait_for_status(event_id, "held", timeout_s=40)
    assert fake_llm.calls["e1"] == 1
    assert event.step == "llm"
    assert event.attempts.earliest("started_at").error_code == "worker_lost"


def test_a_worker_that_is_told_to_stop_finishes_its_call(
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    start_process: Start,
) -> None:
    fake_llm.plan("e1", "hang:3")
    event_id = post(helpdesk)
    rig.start_dispatcher()
    worker = start_process("manage.py", "worker")
    wait_for_call(fake_llm, "e1")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert Event.objects.get(pk=event_id).answer == {"category": "x"}
    rig.start_worker()
    wait_for_status(event_id, "delivered", timeout_s=40)
    assert fake_llm.calls["e1"] == 1


def test_a_killed_dispatcher_loses_no_entry_and_starts_none_twice(
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    start_process: Start,
) -> None:
    posted = [post(helpdesk, b'{"text": "[[e%d]]"}' % number) for number in range(150)]
    dispatcher = start_process("manage.py", "dispatcher")
    wait_until(Event.objects.exists, 30, "the first event")
    dispatcher.kill()
    dispatcher.wait()
    rig.start_worker()
    rig.start_dispatcher()
    delivered = Event.objects.filter(status="delivered")
    wait_until(lambda: delivered.count() == len(posted), 90, "all delivered")
    assert set(fake_llm.calls.values()) == {1}


def test_events_go_on_after_temporal_was_killed_and_started_again(
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    settings: Any,
    own_temporal: Callable[[], Server],
) -> None:
    temporal = own_temporal()
    settings.TEMPORAL_ADDRESS = temporal.address
    fake_llm.latency_ms = 300
    rig.start_worker()
    rig.start_dispatcher()
    posted = [post(helpdesk, b'{"text": "[[e%d]]"}' % number) for number in range(30)]
    wait_until(lambda: fake_llm.calls.total() >= 5, 30, "the first calls")
    temporal.kill()
    temporal.start()
    delivered = Event.objects.filter(status="delivered")
    wait_until(lambda: delivered.count() == len(posted), 90, "all delivered")
    assert set(fake_llm.calls.values()) == {1}
