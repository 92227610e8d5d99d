"""An event's state changes by one conditional UPDATE, and only the first who asks wins."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from apps.events.models import Event, Status, Step
from apps.sources.models import Source
from tests.fixtures.cast import make_event


@pytest.fixture(autouse=True)
def _no_workflows(settings: Settings) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"


def read(event: Event) -> Event:
    return Event.objects.get(pk=event.pk)


def test_an_open_event_is_delivered_with_its_end(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.RUNNING)
    assert event.deliver()
    assert read(event).status == Status.DELIVERED
    assert read(event).finished_at is not None


@pytest.mark.parametrize(
    "status", [Status.DELIVERED, Status.FILTERED, Status.DISCARDED, Status.DEAD, Status.HELD]
)
def test_what_is_not_open_is_neither_delivered_nor_buried_nor_held(
    helpdesk: Source, status: Status
) -> None:
    event = make_event(helpdesk, status=status)
    assert not event.deliver()
    assert not event.bury(Step.LLM, "code", "reason")
    assert not event.hold(Step.LLM, "code", "reason")
    assert read(event).status == status


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.DELIVERED])
def test_only_a_dead_or_held_event_is_retried_or_discarded(
    helpdesk: Source, status: Status
) -> None:
    event = make_event(helpdesk, status=status)
    assert not event.retry()
    assert not event.discard()
    assert read(event).run == 1


def test_a_retry_begins_a_new_run_without_the_old_error(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD, error_code="http_500", error="It failed.")
    assert event.retry()
    after = read(event)
    assert (after.status, after.run, after.error_code, after.error) == ("queued", 2, "", "")
    assert after.finished_at is None
    assert after.workflow_id == f"{after.public_id}-r2"


def test_a_worker_of_an_earlier_run_changes_nothing(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.HELD)
    late = read(event)
    assert event.retry()
    assert not late.deliver()
    assert read(event).status == Status.QUEUED


def test_a_long_error_is_cut_and_not_refused(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.RUNNING)
    assert event.bury(Step.DELIVER, "c" * 100, "r" * 1000)
    assert len(read(event).error) == 500


@pytest.mark.django_db(transaction=True)
def test_of_eight_who_retry_at_once_one_wins(helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    gate = threading.Barrier(8)

    def retry(_: int) -> bool:
        try:
            mine = read(event)
            gate.wait(10)
            return mine.retry()
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(retry, range(8)))
    assert won.count(True) == 1
    assert read(event).run == 2


def test_a_source_takes_an_idempotency_key_once(helpdesk: Source) -> None:
    make_event(helpdesk, idempotency_key="same")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_event(helpdesk, idempotency_key="same")


def test_a_finished_event_must_have_an_end(helpdesk: Source) -> None:
    event = make_event(helpdesk)
    with pytest.raises(IntegrityError), transaction.atomic():
        Event.objects.filter(pk=event.pk).update(status=Status.DELIVERED)


def test_an_unknown_state_is_refused_by_the_database(helpdesk: Source) -> None:
    event = make_event(helpdesk)
    with pytest.raises(IntegrityError), transaction.atomic():
        Event.objects.filter(pk=event.pk).update(status="lost", finished_at=timezone.now())
