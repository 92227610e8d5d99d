"""What a batch of entries becomes: each event once, another body kept, a quarantined one held."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from apps.events import duplicates, intake
from apps.events.ids import new_event_hex
from apps.events.models import Event, EventAlias, EventBody, EventConflict, Status
from apps.housekeeping import retention
from apps.sources.models import Source
from apps.streams.entries import Entry, parse_entry
from tests.fixtures.cast import make_event

FIRST, OTHER = b'{"total": 10}', b'{"total": 12}'
NOW_MS = int(time.time() * 1000)


@pytest.fixture(autouse=True)
def no_queue_server(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def make_entry(source: Source, body: bytes = FIRST, key: str = "order-1", **fields: Any) -> Entry:
    event_id = new_event_hex()
    given = {
        "id": f"{event_id}-0",
        "shard": "0",
        "event_id": event_id,
        "event_type": "order.paid",
        "content_type": "application/json",
        "received_ms": NOW_MS,
        "deliveries": 1,
    }
    return Entry(source_id=source.pk, key=key, body=body, **{**given, **fields})


def get_bodies(source: Source) -> tuple[list[bytes], list[bytes]]:
    """The bodies of its events, and of their conflicts."""
    events = EventBody.objects.filter(event__source=source)
    conflicts = EventConflict.objects.filter(event__source=source).order_by("id")
    return [bytes(each.raw) for each in events], [bytes(each.raw) for each in conflicts]


def count(outcome: str) -> int:
    return int(duplicates.CONFLICTS.labels(outcome)._value.get())


# --- The same event, or another body -----------------------------------------------------------


def test_the_same_body_under_the_same_key_is_never_a_conflict(helpdesk: Source) -> None:
    first, again, later = (make_entry(helpdesk) for _ in range(3))
    assert intake.store([first, again]).settled == [first, again]
    assert intake.store([later]).settled == [later]
    assert get_bodies(helpdesk) == ([FIRST], [])
    aliases = EventAlias.objects.filter(event_id=UUID(first.event_id))
    assert {alias.pk.hex for alias in aliases} == {again.event_id, later.event_id}


def test_another_body_within_one_batch_is_kept_and_the_first_is_the_event(
    helpdesk: Source,
) -> None:
    first, other = make_entry(helpdesk), make_entry(helpdesk, OTHER)
    done = intake.store([first, other])
    assert done.settled == [first, other]
    assert [run.event_id for run in done.to_start] == [first.event_id]
    assert get_bodies(helpdesk) == ([FIRST], [OTHER])
    conflict = EventConflict.objects.get()
    assert (conflict.pk.hex, conflict.event_id.hex) == (other.event_id, first.event_id)
    assert (conflict.event_type, conflict.content_type) == ("order.paid", "application/json")


def test_another_body_that_comes_again_is_one_conflict(helpdesk: Source) -> None:
    before = count("kept")
    intake.store([make_entry(helpdesk), make_entry(helpdesk, OTHER)])
    again = make_entry(helpdesk, OTHER)
    assert intake.store([again, again]).settled == [again, again]
    assert get_bodies(helpdesk) == ([FIRST], [OTHER])
    assert count("kept") - before == 1
    assert not EventAlias.objects.exists()


def test_an_entry_that_is_read_twice_makes_no_conflict_with_itself(helpdesk: Source) -> None:
    entry = make_entry(helpdesk)
    intake.store([entry])
    assert intake.store([entry]).settled == [entry]
    assert not EventConflict.objects.exists()
    assert not EventAlias.objects.exists()


def test_one_key_of_two_sources_is_two_events(helpdesk: Source) -> None:
    shop = Source.objects.create(
        slug="shop", name="Shop", scheme="github", pipeline=helpdesk.pipeline
    )
    intake.store([make_entry(helpdesk), make_entry(shop, OTHER)])
    intake.store([make_entry(helpdesk, OTHER), make_entry(shop, OTHER)])
    assert get_bodies(helpdesk) == ([FIRST], [OTHER])
    assert get_bodies(shop) == ([OTHER], [])


def test_an_event_of_an_older_release_is_compared_by_its_body(helpdesk: Source) -> None:
    event = make_event(helpdesk, FIRST, idempotency_key="order-1")
    assert event.body_sha256 == ""
    intake.store([make_entry(helpdesk), make_entry(helpdesk, OTHER)])
    assert get_bodies(helpdesk) == ([FIRST], [OTHER])


def test_an_event_whose_body_nobody_knows_any_more_has_no_conflict(helpdesk: Source) -> None:
    event = make_event(helpdesk, FIRST, idempotency_key="order-1")
    EventBody.objects.filter(event=event).delete()
    intake.store([make_entry(helpdesk, OTHER)])
    assert not EventConflict.objects.exists()


def test_no_more_than_twenty_bodies_are_kept_and_the_rest_is_counted(helpdesk: Source) -> None:
    before = count("dropped")
    bodies = [b'{"total": %d}' % number for number in range(30)]
    done = intake.store([make_entry(helpdesk, body) for body in bodies])
    assert len(done.settled) == 30
    events, conflicts = get_bodies(helpdesk)
    assert events == bodies[:1]
    assert sorted(conflicts) == sorted(bodies[1:21])
    assert count("dropped") - before == 9


def test_two_dispatchers_at_once_keep_one_event_and_one_conflict(
    helpdesk: Source, transactional_db: None
) -> None:
    def store(entries: list[Entry]) -> None:
        try:
            barrier.wait()
            while entries:
                try:
                    done = intake.store(entries)
                except intake.DatabaseAway:
                    continue  # SQLite may say "locked": the dispatcher tries again, too
                entries = done.failed
        finally:
            connections.close_all()

    for number in range(10):
        barrier = threading.Barrier(2)
        key = f"order-{number}"
        batches = [[make_entry(helpdesk, body, key)] for body in (FIRST, OTHER)]
        threads = [threading.Thread(target=store, args=(batch,)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        event = Event.objects.get(idempotency_key=key)
        kept = {bytes(event.body.raw), bytes(event.conflicts.get().raw)}
        assert kept == {FIRST, OTHER}


def test_after_its_retention_time_a_key_may_come_again(helpdesk: Source, settings: Any) -> None:
    intake.store([make_entry(helpdesk), make_entry(helpdesk), make_entry(helpdesk, OTHER)])
    long_ago = timezone.now() - timedelta(days=settings.RETENTION_DAYS + 1)
    Event.objects.update(status=Status.DELIVERED, finished_at=long_ago)
    assert retention.apply().events == 1
    assert not EventConflict.objects.exists()
    assert not EventAlias.objects.exists()
    again = make_entry(helpdesk, OTHER)
    assert [run.event_id for run in intake.store([again]).to_start] == [again.event_id]


# --- Which secret ------------------------------------------------------------------------------


def test_an_event_knows_its_secret_and_the_secret_its_last_use(helpdesk: Source) -> None:
    secret = helpdesk.secrets.get()
    entries = [
        make_entry(helpdesk, key=f"k{number}", secret_id=secret.pk, received_ms=NOW_MS + number)
        for number in range(3)
    ]
    intake.store(entries)
    assert set(Event.objects.values_list("secret_id", flat=True)) == {secret.pk}
    secret.refresh_from_db()
    assert secret.last_used_at is not None
    assert int(secret.last_used_at.timestamp() * 1000) == NOW_MS + 2


def test_the_last_use_is_written_once_a_minute_and_never_goes_back(
    helpdesk: Source,
) -> None:
    secret = helpdesk.secrets.get()

    def store(key: str, seconds: float) -> float:
        ms = NOW_MS + int(seconds * 1000)
        intake.store([make_entry(helpdesk, key=key, secret_id=secret.pk, received_ms=ms)])
        secret.refresh_from_db()
        assert secret.last_used_at is not None
        return round(secret.last_used_at.timestamp() - NOW_MS / 1000)

    assert store("a", 0) == 0
    assert store("b", 59) == 0
    assert store("c", 61) == 61
    assert store("d", -300) == 61


def test_a_secret_that_was_deleted_meanwhile_loses_no_event(helpdesk: Source) -> None:
    gone = helpdesk.secrets.get().pk
    helpdesk.secrets.all().delete()
    entry = make_entry(helpdesk, secret_id=gone)
    assert intake.store([entry]).settled == [entry]
    assert Event.objects.get().secret_id is None


def test_an_entry_of_an_older_release_is_stored(helpdesk: Source) -> None:
    event_id = new_event_hex()
    fields = {"e": event_id, "s": str(helpdesk.pk), "k": "order-1", "t": "", "c": "", "r": "1000"}
    raw = {name.encode(): value.encode() for name, value in fields.items()} | {b"b": FIRST}
    done = intake.store([parse_entry("0", b"1-0", raw, 1)])
    assert [run.event_id for run in done.to_start] == [event_id]
    assert Event.objects.get().secret_id is None


# --- Quarantine ----------------------------------------------------------------------------------


def test_a_quarantined_entry_is_held_with_its_sentence_and_starts_no_workflow(
    helpdesk: Source,
) -> None:
    why = "The body does not fit the source's schema: total is missing."
    done = intake.store([make_entry(helpdesk, quarantine=why), make_entry(helpdesk, key="fine")])
    event = Event.objects.get(idempotency_key="order-1")
    assert (event.status, event.step, event.error_code) == (Status.HELD, "queue", "quarantined")
    assert event.error == why
    assert [run.event_id for run in done.to_start] == [
        Event.objects.get(idempotency_key="fine").pk.hex
    ]
