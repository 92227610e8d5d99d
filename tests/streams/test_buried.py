"""What could not be stored lies aside, can be counted, and comes back by page and API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.models import StatusSample
from apps.streams.buried import Unburied, unbury
from apps.streams.depth import get_depths
from apps.streams.entries import DEAD_STREAM, STREAM
from tests.api.clients import with_token

FIELDS: dict[Any, Any] = {
    b"e": b"0" * 32, b"s": b"1", b"k": b"key", b"t": b"", b"c": b"", b"r": b"1", b"b": b"\x00{}",
}  # fmt: skip
PAGE, API = "/dead-letters/unbury/", "/api/v1/dead-letters/unbury/"


@pytest.fixture(autouse=True)
def _three_buried(queue: Any) -> None:
    for _ in range(3):
        queue.xadd(DEAD_STREAM, {**FIELDS, b"why": b"not_stored"})


def count_buried() -> list[int | None]:
    return [shard.depth.buried if shard.depth else None for shard in get_depths()]


def test_an_entry_comes_back_byte_for_byte_without_its_reason(queue: Any) -> None:
    assert count_buried() == [3]
    assert unbury() == Unburied(given=3)
    assert count_buried() == [0]
    assert [fields for _, fields in queue.xrange(STREAM)] == [FIELDS] * 3


def test_a_shard_that_is_down_keeps_the_others_from_nothing(
    settings: Settings, bob: User, client: Client
) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock#gone", *settings.QUEUE_URLS]
    client.force_login(bob, "django.contrib.auth.backends.ModelBackend")
    html = client.post(PAGE, follow=True).content.decode()
    assert "3 given to the dispatcher again." in html
    assert "Shard gone does not answer" in html
    assert with_token(bob).post(API, {}).json() == {"done": 0, "unreached": ["gone"]}
    assert count_buried() == [None, 0]


def test_bob_gives_them_back_by_the_api_and_the_audit_knows(bob: User) -> None:
    assert with_token(bob).post(API, {}).json() == {"done": 3, "unreached": []}
    assert AuditEntry.objects.get(action="queue.unbury").details == {"entries": 3}


def test_the_page_shows_them_with_a_button_for_who_may_use_it(
    bob: User, vera: User, client: Client
) -> None:
    shard = {"shard": "0", "length": 0, "lag": 0, "buried": 3, "durable": True}
    StatusSample.objects.create(shards=[shard])
    for user, has_button in ((bob, True), (vera, False)):
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        html = client.get("/dead-letters/").content.decode()
        assert "3 accepted, but never stored" in html
        assert ("Store again" in html) is has_button
    assert client.post(PAGE).status_code == 403
    assert count_buried() == [3]


def test_a_queue_that_is_down_is_said_and_not_a_crash(bob: User, settings: Settings) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    assert with_token(bob).post(API, {}).status_code == 409
