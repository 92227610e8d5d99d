"""What fell between database and Temporal is started again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.events import workflow_client
from apps.events.models import Event
from apps.housekeeping.reconciler import Reconciled, reconcile
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.servers import Server
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from workers.contracts import EventRun

Post = Callable[..., str]
AT_ONCE = timedelta(0)


def start_workflow(event: Event) -> None:
    assert workflow_client.start_now([EventRun(event.pk.hex, event.run)])


def test_an_event_whose_workflow_was_never_started_is_started(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    event = make_event(helpdesk)
    rig.start_worker()
    assert reconcile(AT_ONCE) == Reconciled(looked_at=1, started=1)
    wait_for_status(event.pk, "delivered")


def test_an_event_whose_workflow_is_open_is_left_alone(rig: Rig, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    start_workflow(event)
    assert reconcile(AT_ONCE) == Reconciled(looked_at=1, started=0)


def test_a_young_event_is_not_even_looked_at(rig: Rig, helpdesk: Source) -> None:
    make_event(helpdesk)
    assert reconcile() == Reconciled()


def test_an_open_event_whose_workflow_has_ended_gets_a_new_one(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    event = make_event(helpdesk, status="dead")
    rig.start_worker()
    start_workflow(event)  # finds a dead letter, and ends
    wait_until(
        lambda: not workflow_client.find_running([event.workflow_id])[event.workflow_id],
        what="the end of the workflow",
    )
    Event.objects.filter(pk=event.pk).update(status="running", finished_at=None)
    assert reconcile(AT_ONCE).started == 1
    wait_for_status(event.pk, "delivered")


def test_events_are_started_again_after_temporal_has_lost_everything(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, settings: Any, own_temporal: Callable[[], Server]
) -> None:
    event = make_event(helpdesk, status="running")
    settings.TEMPORAL_ADDRESS = own_temporal().address
    rig.start_worker()
    assert reconcile(AT_ONCE).started == 1
    wait_for_status(event.pk, "delivered")


def test_it_gives_up_quietly_while_temporal_is_down(
    rig: Rig, helpdesk: Source, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"
    event = make_event(helpdesk)
    assert reconcile(AT_ONCE) == Reconciled()
    assert "Temporal does not answer" in caplog.text
    assert Event.objects.get() == event


def test_a_retry_while_temporal_is_down_waits_for_the_reconciler(
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    settings: Any,
    temporal_address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    event = make_event(helpdesk, status="dead")
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"
    assert event.retry()
    wait_until(lambda: "1 workflows not started" in caplog.text, what="the line in the log")
    assert Event.objects.get().status == "queued"
    settings.TEMPORAL_ADDRESS = temporal_address
    workflow_client.forget_connection()
    rig.start_worker()
    assert reconcile(AT_ONCE).started == 1
    assert wait_for_status(event.pk, "delivered").run == 2
