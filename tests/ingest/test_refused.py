"""Refused requests are kept, encrypted and bounded, and become events once the source is mended."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection, connections
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.ingest import metrics
from apps.ingest.acceptance import Acceptance, Outcome, StillRefused, discard
from apps.ingest.models import RefusedRequest, State
from apps.ingest.refused_content import mask_headers, mask_url, unpack
from apps.sources.models import Secret, Source
from apps.streams.adding import add
from apps.streams.entries import STREAM
from apps.streams.errors import QueueNotDurable
from tests.fixtures.refused import OTHER_SECRET
from tests.ingest.conftest import BODY, Hooks, sign
from tests.waiting import wait_until

PATH = "/hooks/helpdesk"


def refuse(
    hooks: Hooks, body: bytes = BODY, event_id: str = "msg_1", path: str = PATH, **headers: str
) -> httpx.Response:
    """A request signed with a secret that the source does not know."""
    signed = sign(body, event_id, secret=OTHER_SECRET) | headers
    answer = hooks.client.post(path, content=body, headers=signed)
    assert answer.status_code == 401
    return answer


def wait_for_kept(count: int = 1) -> list[RefusedRequest]:
    wait_until(lambda: RefusedRequest.objects.count() >= count, 10, f"{count} kept requests")
    return list(RefusedRequest.objects.order_by("received_at"))


def mend(source: Source) -> None:
    Secret.objects.create(source=source, value=OTHER_SECRET)


# --- Kept -----------------------------------------------------------------------------------------


def test_a_wrong_signature_is_kept_with_its_reason(hooks: Hooks, helpdesk: Source) -> None:
    refuse(hooks, path=f"{PATH}?token=in-the-address")

    (kept,) = wait_for_kept()

    assert (kept.source, kept.state, kept.code) == (helpdesk, "kept", "bad_signature")
    assert kept.reason == "The signature does not match the active secret."
    assert (kept.method, kept.address, kept.times) == ("POST", "127.0.0.1", 1)
    assert kept.size_bytes == len(BODY)
    assert kept.content is not None
    request = unpack(kept.content)
    assert request.body == BODY
    assert request.url.endswith(f"{PATH}?token=in-the-address")


def test_nothing_of_it_stands_in_the_database_in_plain(hooks: Hooks) -> None:
    refuse(hooks, path=f"{PATH}?token=in-the-address", authorization="Bearer in-the-header")
    wait_for_kept()

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM ingest_refusedrequest")
        row = b"".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for value in cursor.fetchone()
        )
    for hidden in (b"parcel", b"in-the-address", b"in-the-header", b"msg_1"):
        assert hidden not in row


def test_a_retired_secret_is_named(hooks: Hooks, helpdesk: Source) -> None:
    ended = datetime(2026, 3, 9, 14, 5, tzinfo=UTC)
    Secret.objects.create(source=helpdesk, value=OTHER_SECRET, starts_at=ended, ends_at=ended)

    refuse(hooks)

    reason = wait_for_kept()[0].reason
    assert reason.endswith("It matches a secret that was retired on 9 March 2026 at 14:05 UTC.")


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{not json", "application/json", "not_json"),
        (b"<xml/>", "text/xml", "wrong_content_type"),
    ],
)
def test_what_is_no_json_or_of_a_wrong_type_is_kept(
    hooks: Hooks, body: bytes, content_type: str, code: str
) -> None:
    assert hooks.post(body, content_type=content_type).status_code in (400, 415)

    assert wait_for_kept()[0].code == code


def test_what_no_repair_can_mend_is_not_kept(hooks: Hooks) -> None:
    assert hooks.post(path="/hooks/nobody").status_code == 404
    assert hooks.client.put(PATH, content=BODY).status_code == 405
    assert hooks.post(b"x" * 1_100_000).status_code == 413
    refuse(hooks, event_id="the last")

    (kept,) = wait_for_kept()

    assert kept.code == "bad_signature"


def test_a_repeat_counts_up(hooks: Hooks) -> None:
    for _ in range(3):
        refuse(hooks)
    wait_until(lambda: get_times() == 3, 10, "three repeats")

    refuse(hooks)  # later, in another batch

    wait_until(lambda: get_times() == 4, 10, "a fourth")
    (kept,) = RefusedRequest.objects.all()
    assert kept.last_received_at > kept.received_at


def test_the_same_body_under_another_id_is_another_event(hooks: Hooks) -> None:
    refuse(hooks, event_id="msg_1")
    refuse(hooks, event_id="msg_2")

    assert [kept.times for kept in wait_for_kept(2)] == [1, 1]


def get_times() -> int:
    return sum(RefusedRequest.objects.values_list("times", flat=True))


def test_what_is_refused_just_before_the_end_is_written(start_hooks: Any, valkey_url: str) -> None:
    with start_hooks(valkey_url) as hooks:
        hooks.wait_until_ready()
        for number in range(150):
            refuse(hooks, b'{"n": %d}' % number)

    assert RefusedRequest.objects.count() == 150


# --- Bounded --------------------------------------------------------------------------------------


def test_the_oldest_go_first_and_strangers_before_them(hooks: Hooks, settings: Settings) -> None:
    settings.REFUSED_KEEP_COUNT = 3
    refuse(hooks, b'{"n": 1}')
    wait_for_kept(1)
    for number in (2, 3):
        refuse(hooks, b'{"n": %d}' % number)
    wait_for_kept(3)
    hooks.client.post(PATH, content=b'{"n": 4}', headers={"content-type": "application/json"})
    refuse(hooks, b'{"n": 5}')

    wait_until(lambda: b'{"n": 5}' in get_bodies(), 10, "the newest")

    assert get_bodies() == {b'{"n": 2}', b'{"n": 3}', b'{"n": 5}'}


def get_bodies() -> set[bytes]:
    contents = [row.content for row in RefusedRequest.objects.all()]
    return {unpack(content).body for content in contents if content}


def test_bytes_are_bounded_for_each_source(hooks: Hooks, settings: Settings) -> None:
    settings.REFUSED_KEEP_BYTES = 30_000
    for number in range(6):
        refuse(hooks, json.dumps({"n": number, "text": "x" * 9000}).encode())

    wait_until(lambda: any(b'"n": 5' in body for body in get_bodies()), 10, "the newest")

    sizes = list(RefusedRequest.objects.values_list("kept_bytes", flat=True))
    assert len(sizes) == 2
    assert sum(sizes) <= 30_000


def test_a_flood_fills_nothing_and_good_events_go_on(
    hooks: Hooks, helpdesk: Source, settings: Settings
) -> None:
    settings.REFUSED_KEEP_COUNT = 200
    dropped = metrics.REFUSED_DROPPED.labels(helpdesk.slug)
    before = dropped._value.get()

    def flood(part: int) -> None:
        with httpx.Client(base_url=hooks.base_url) as client:
            for number in range(5000):
                body = b'{"n": %d}' % (part * 5000 + number)
                headers = {
                    "content-type": "application/json",
                    "webhook-id": "m",
                    "webhook-timestamp": str(int(time.time())),
                    "webhook-signature": "v1,bm90IHJpZ2h0",
                }
                assert client.post(PATH, content=body, headers=headers).status_code == 401

    slowest = 0.0
    answers: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        floods = [pool.submit(flood, part) for part in range(4)]
        while not all(each.done() for each in floods):
            began = time.monotonic()
            answers.append(hooks.post(event_id=f"good-{len(answers)}").status_code)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        for each in floods:
            each.result()

    assert set(answers) == {202}
    assert slowest < 2
    assert dropped._value.get() - before > 10_000
    assert RefusedRequest.objects.count() <= 200


# --- Taken in -------------------------------------------------------------------------------------


def test_it_passes_after_the_repair_and_is_one_event(
    hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    with pytest.raises(StillRefused, match="does not match"):
        Acceptance().accept(kept, alice)
    assert hooks.entries() == []
    mend(helpdesk)

    assert Acceptance().accept(kept, alice) is Outcome.ACCEPTED

    (entry,) = hooks.entries()
    assert (entry.body, entry.key, f"evt_{entry.event_id}") == (BODY, "msg_1", kept.event_public_id)
    assert entry.received_ms == pytest.approx(kept.received_at.timestamp() * 1000, abs=1)
    kept.refresh_from_db()
    assert (kept.state, kept.content, kept.settled_by) == (State.ACCEPTED, None, alice)
    audit = AuditEntry.objects.get(action="refused.accept")
    assert audit.details == {"event": kept.event_public_id, "duplicate": False}


def test_the_day_after_its_timestamp_is_judged_as_of_its_arrival(
    hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    mend(helpdesk)
    assert kept.content is not None
    line, _, body = kept.content.partition(b"\n")
    head = json.loads(line)
    day_s = 86_400
    head["now"] -= day_s
    stamp = int(head["now"])
    signed = sign(BODY, "msg_1", secret=OTHER_SECRET, age_s=int(time.time()) - stamp)
    head["headers"] = list(signed.items())
    kept.content = json.dumps(head).encode() + b"\n" + body
    kept.received_at -= timedelta(days=1)
    kept.save()

    assert Acceptance().accept(kept, alice) is Outcome.ACCEPTED


def test_a_stale_one_stays_refused_and_says_that_the_rest_is_right(
    hooks: Hooks, alice: User
) -> None:
    hooks.post(age_s=3600)
    (kept,) = wait_for_kept()

    with pytest.raises(StillRefused, match="signed 1 hour before it arrived"):
        Acceptance().accept(kept, alice)


def test_two_who_accept_at_once_make_one_event(hooks: Hooks, helpdesk: Source, alice: User) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    mend(helpdesk)
    together = threading.Barrier(2)

    def accept() -> Outcome:
        try:
            mine = RefusedRequest.objects.get(pk=kept.pk)
            together.wait(5)
            return Acceptance().accept(mine, alice)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        outcomes = [each.result() for each in [pool.submit(accept) for _ in range(2)]]

    assert sorted(each.value for each in outcomes) == ["accepted", "too_late"]
    assert len(hooks.entries()) == 1
    assert AuditEntry.objects.filter(action="refused.accept").count() == 1


def test_after_a_crash_behind_the_queue_it_finds_itself(
    hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    mend(helpdesk)
    entry = Acceptance().verify(kept)
    add(b"helpdesk", entry.ordering_key, entry.dedup_key, entry.values)  # and no commit after it

    assert Acceptance().accept(kept, alice) is Outcome.ACCEPTED

    assert len(hooks.entries()) == 1


def test_one_that_came_another_way_makes_no_second_event(
    hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    retried = hooks.post().json()["id"]  # the provider tried again with the right secret
    mend(helpdesk)

    assert Acceptance().accept(kept, alice) is Outcome.DUPLICATE

    assert len(hooks.entries()) == 1
    assert kept.event_public_id == retried


def test_what_is_not_durable_accepts_nothing(
    start_hooks: Any, own_valkey: Any, helpdesk: Source, alice: User
) -> None:
    with start_hooks(own_valkey().address) as hooks:
        hooks.wait_until_ready()
        refuse(hooks)
        (kept,) = wait_for_kept()
        mend(helpdesk)
        hooks.queue.delete(STREAM)
        hooks.queue.config_set("appendfsync", "everysec")

        with pytest.raises(QueueNotDurable):
            Acceptance().accept(kept, alice)

        kept.refresh_from_db()
        assert (kept.state, hooks.entries()) == ("kept", [])


def test_a_discarded_one_loses_its_content_and_is_not_accepted(
    hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    refuse(hooks)
    (kept,) = wait_for_kept()
    seen = RefusedRequest.objects.get()
    mend(helpdesk)

    assert discard(kept, alice)
    assert not discard(kept, alice)

    assert Acceptance().accept(seen, alice) is Outcome.TOO_LATE
    assert hooks.entries() == []
    assert RefusedRequest.objects.get().content is None


# --- Shown ----------------------------------------------------------------------------------------


def test_credentials_are_only_begun() -> None:
    headers = {
        b"authorization": b"Bearer 0123456789abcdef0123456789",
        b"x-hub-signature-256": b"sha256=" + b"a" * 64,
        b"x-shop": b"short-secret",
        b"content-type": b"application/json",
        b"x-github-event": b"push",
        b"x-token-id": b"0123456789abcdef0123456789",
    }

    shown = dict(mask_headers(headers))

    assert shown["content-type"] == "application/json"
    assert shown["x-github-event"] == "push"
    assert shown["authorization"] == "Bearer… (33 characters)"
    assert shown["x-shop"] == "… (12 characters)"
    assert "abcdef" not in shown["x-token-id"]
    assert "aaa" not in shown["x-hub-signature-256"]


def test_an_address_shows_no_value() -> None:
    url = "https://user:pass@example.com/hooks/shop?token=hidden&x=%00"

    assert mask_url(url) == "/hooks/shop?token=…&x=…"
