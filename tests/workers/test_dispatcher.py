"""The dispatcher: each entry becomes one event with one workflow, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from apps.events import workflow_client
from apps.events.ids import new_event_hex
from apps.events.models import Event, EventBody
from apps.sources.models import Source
from apps.streams.clients import get_client
from apps.streams.depth import get_depths
from apps.streams.entries import DEAD_STREAM, GROUP, STREAM, Depth
from tests.fixtures.cast import make_event
from tests.fixtures.servers import Server
from tests.waiting import wait_until
from tests.workers.conftest import HURRIED, Rig, wait_for_status
from workers.contracts import EventRun

Post = Callable[..., str]


def get_depth() -> Depth:
    depth = get_depths()[0].depth
    assert depth is not None
    return depth


def wait_until_settled() -> None:
    """Until every entry was handled."""

    def is_settled() -> bool:
        depth = get_depth()
        return depth.length == 0 and depth.pending == 0

    wait_until(is_settled, what="a settled queue")


def is_started(event_id: str) -> bool:
    workflow_id = EventRun(event_id, 1).workflow_id
    return workflow_client.find_running([workflow_id])[workflow_id]


def get_reasons(settings: Any) -> list[bytes]:
    entries: Any = get_client(settings.QUEUE_URLS[0]).xrange(DEAD_STREAM)
    return [fields[b"why"] for _, fields in entries]


def test_an_entry_becomes_an_event_with_its_body_and_a_workflow(
    rig: Rig, helpdesk: Source, post: Post
) -> None:
    event_id = post(helpdesk, b'{"text": "hello"}', key="order-1")
    rig.start_dispatcher()
    event = wait_for_status(event_id, "running")
    assert (event.idempotency_key, event.event_type) == ("order-1", "ticket.created")
    assert bytes(event.body.raw) == b'{"text": "hello"}'
    assert event.excerpt == '{"text": "hello"}'
    assert event.pipeline_version == helpdesk.pipeline.current_version
    assert is_started(event_id)
    wait_until_settled()


def test_the_second_entry_of_a_key_makes_neither_event_nor_workflow(
    rig: Rig, helpdesk: Source, post: Post
) -> None:
    first, second = post(helpdesk, key="order-1"), post(helpdesk, key="order-1")
    rig.start_dispatcher()
    wait_until_settled()
    assert [event.pk.hex for event in Event.objects.all()] == [first]
    assert EventBody.objects.count() == 1
    assert is_started(first)
    assert not is_started(second)


def test_an_entry_that_comes_again_starts_nothing_anew(
    rig: Rig, helpdesk: Source, post: Post
) -> None:
    event = make_event(helpdesk, status="delivered", idempotency_key="order-1")
    post(helpdesk, key="order-1", event_id=event.pk.hex)
    rig.start_dispatcher()
    wait_until_settled()
    assert not is_started(event.pk.hex)
    assert wait_for_status(event.pk, "delivered")


def test_what_a_dead_dispatcher_left_is_taken_over(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    event_id = post(helpdesk)
    client = get_client(settings.QUEUE_URLS[0])
    client.xgroup_create(STREAM, GROUP, id="0")
    client.xreadgroup(GROUP, "dead", {STREAM: ">"})
    rig.start_dispatcher()
    wait_for_status(event_id, "running")
    wait_until_settled()


def test_a_lost_group_is_made_again_and_loses_no_entry(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    rig.start_dispatcher()
    first = post(helpdesk)
    wait_for_status(first, "running")
    get_client(settings.QUEUE_URLS[0]).xgroup_destroy(STREAM, GROUP)
    second = post(helpdesk)
    wait_for_status(second, "running")
    wait_until_settled()
    assert Event.objects.count() == 2


def test_an_entry_that_the_database_refuses_stops_no_other_and_is_buried(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    good = [post(helpdesk) for _ in range(3)]
    post(helpdesk, event_id=new_event_hex(), r=10**15)  # received in the year 33658
    good += [post(helpdesk) for _ in range(3)]
    rig.start_dispatcher()
    for event_id in good:
        wait_for_status(event_id, "running")
    wait_until(lambda: get_reasons(settings) == [b"not_stored"], what="the burial")
    wait_until_settled()
    assert Event.objects.count() == 6


def test_an_entry_of_a_deleted_source_is_buried(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    post(helpdesk)
    Source.objects.filter(pk=helpdesk.pk).delete()  # past the check that page and API make
    rig.start_dispatcher()
    wait_until(lambda: get_reasons(settings) == [b"no_such_source"], what="the burial")
    wait_until_settled()


def test_an_entry_that_killed_dispatchers_is_buried_unopened(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    event_id = post(helpdesk)
    client: Any = get_client(settings.QUEUE_URLS[0])
    client.xgroup_create(STREAM, GROUP, id="0")
    client.xreadgroup(GROUP, "dead", {STREAM: ">"})
    entry_id = client.xrange(STREAM)[0][0]
    client.xclaim(STREAM, GROUP, "dead", 0, [entry_id], retrycount=5)
    rig.start_dispatcher()
    wait_until(lambda: get_reasons(settings) == [b"delivered_too_often"], what="the burial")
    assert not Event.objects.filter(pk=event_id).exists()


def test_it_stops_reading_while_enough_events_are_open(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    settings.OPEN_WORKFLOWS_MAX = 2
    for _ in range(5):
        post(helpdesk)
    rig.start_dispatcher()
    wait_until(lambda: Event.objects.filter(status="running").count() == 2, what="two events")
    assert Event.objects.count() == 2
    assert get_depth().length == 3
    for event in Event.objects.all():
        event.deliver()
    wait_until(lambda: Event.objects.count() == 4, what="the next two events")


def test_events_are_kept_and_settled_while_temporal_is_down(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"
    event_id = post(helpdesk)
    rig.start_dispatcher()
    wait_for_status(event_id, "queued")
    wait_until_settled()


def test_it_goes_on_by_itself_after_the_queue_was_down(
    rig: Rig, helpdesk: Source, post: Post, settings: Any, own_valkey: Callable[[], Server]
) -> None:
    server = own_valkey()
    settings.QUEUE_URLS = [server.address]
    rig.start_dispatcher()
    wait_for_status(post(helpdesk), "running")
    server.kill()
    server.start()
    event_id = wait_until(lambda: post(helpdesk))
    wait_for_status(event_id, "running")


def test_settled_entries_are_dropped_from_the_stream(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    for _ in range(3):
        post(helpdesk)
    rig.start_dispatcher(replace(HURRIED, trim_every_s=0.1))
    wait_until(lambda: get_client(settings.QUEUE_URLS[0]).xlen(STREAM) == 0, what="the trim")
    assert Event.objects.count() == 3


def test_a_database_that_reads_but_refuses_writes_buries_nothing(
    rig: Rig, helpdesk: Source, post: Post, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def count_refusals() -> int:
        return sum("database_down" in record.getMessage() for record in caplog.records)

    event_id = post(helpdesk)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_eventbody RENAME TO out_of_reach")
        try:
            rig.start_dispatcher(replace(HURRIED, reclaim_idle_ms=1, max_deliveries=2))
            wait_until(lambda: count_refusals() >= 8, 20, "the eighth refusal")
        finally:
            cursor.execute("ALTER TABLE out_of_reach RENAME TO events_eventbody")
    wait_for_status(event_id, "running")
    assert get_reasons(settings) == []
