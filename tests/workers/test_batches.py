"""An event whose answer may wait, from the queue to the destination, on the real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.destinations.models import InboxItem
from apps.events.models import Event
from apps.events.workflow_client import find_running
from apps.housekeeping.reconciler import reconcile
from apps.llm.batches import run_due
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status


@pytest.fixture
def patient_source(
    patient: Pipeline, helpdesk: Source, temporal_address: str, settings: object
) -> Source:
    settings.TEMPORAL_ADDRESS = temporal_address  # type: ignore[attr-defined]
    return helpdesk


def find_parked(event_id: str) -> Event | None:
    event = Event.objects.filter(pk=event_id).first()
    return event if event and event.is_parked else None


def is_awake_after_a_round(event_id: str) -> bool:
    run_due()
    return find_parked(event_id) is None


@pytest.mark.usefixtures("_no_patience")
def test_it_waits_without_a_workflow_and_is_delivered_when_its_batch_is_back(
    patient_source: Source, rig: Rig, fake_llm: FakeLLM, post: Callable[..., str]
) -> None:
    rig.start_dispatcher()
    rig.start_worker()
    event_id = post(patient_source)
    event = wait_until(lambda: find_parked(event_id))
    assert event
    wait_until(lambda: not find_running([event.workflow_id])[event.workflow_id])
    assert reconcile().started == 0
    run_due()
    wait_until(lambda: is_awake_after_a_round(event_id))
    delivered = wait_for_status(event_id, "delivered")
    assert fake_llm.calls.total() == 1
    assert InboxItem.objects.filter(event_id=delivered.pk).count() == 1
    outcomes = delivered.attempts.order_by("started_at", "pk").values_list("step", "outcome")
    assert list(outcomes) == [("llm", "waited"), ("llm", "ok"), ("deliver", "ok")]
