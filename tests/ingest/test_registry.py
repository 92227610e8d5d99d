"""Changes of sources and secrets reach ingest at once; a broken one harms no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.ingest.registry import Registry
from apps.sources.models import PAUSE_HEARD, Secret, Source
from tests.fixtures.cast import WEBHOOK_SECRET
from tests.ingest.conftest import BODY, Hooks, code_of, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
NEW_SECRET = "whsec_" + "bmV3LXNlY3JldC1vZi10aGUtdGVzdHMtMzItYnl0ZXM="


def post_with(hooks: Hooks, secret: str, event_id: str) -> int:
    headers = sign(BODY, event_id, secret=secret)
    return hooks.client.post("/hooks/helpdesk", content=BODY, headers=headers).status_code


def test_a_secret_is_rotated_without_downtime(hooks: Hooks, helpdesk: Source) -> None:
    old = helpdesk.secrets.get()
    Secret.objects.create(source=helpdesk, value=NEW_SECRET)
    wait_until(lambda: post_with(hooks, NEW_SECRET, "new") in (200, 202), 2, "the new secret")
    assert hooks.post(event_id="old").status_code == 202
    old.retire()
    wait_until(lambda: hooks.post(event_id="old").status_code == 401, 2, "the old one's end")
    assert post_with(hooks, NEW_SECRET, "new 2") == 202


def test_an_event_may_come_before_ingest_has_heard_of_its_source(
    hooks: Hooks, helpdesk: Source
) -> None:
    rows = [Source(slug="fresh", name="Fresh", scheme=helpdesk.scheme, pipeline=helpdesk.pipeline)]
    (fresh,) = Source.objects.bulk_create(rows)  # which announces nothing
    Secret.objects.bulk_create([Secret(source=fresh, value=WEBHOOK_SECRET)])
    assert hooks.post(path="/hooks/fresh").status_code == 202


def test_a_deleted_source_is_unknown_at_once(hooks: Hooks, helpdesk: Source) -> None:
    hooks.queue.flushall()
    helpdesk.pause()
    helpdesk.paused_at = timezone.now() - PAUSE_HEARD
    helpdesk.delete()
    wait_until(lambda: hooks.post().status_code == 404, 2, "the end of the source")


def test_a_source_with_wrong_options_is_answered_503_and_the_others_work(
    hooks: Hooks, helpdesk: Source
) -> None:
    Source.objects.create(
        slug="broken",
        name="Broken",
        scheme="standard-webhooks",
        options={"tolerance_s": "soon"},
        pipeline=helpdesk.pipeline,
    )
    wait_until(lambda: hooks.post(path="/hooks/broken").status_code == 503, 2, "the source")
    assert code_of(hooks.post(path="/hooks/broken")) == (503, "source_broken")
    assert hooks.post().status_code == 202


def test_a_secret_that_cannot_be_decrypted_breaks_only_its_source(
    helpdesk: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sources_secret SET value = 'of another key'")
    registry = Registry()
    registry.refresh()
    assert "VAULT_KEYS" in registry.sources["helpdesk"].broken
    assert "of another key" not in caplog.text


@contextmanager
def unreadable_secrets() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sources_secret RENAME TO out_of_reach")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE out_of_reach RENAME TO sources_secret")


def test_the_last_known_sources_stay_while_the_database_is_down(
    helpdesk: Source, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    registry.refresh()
    with unreadable_secrets(), caplog.at_level(logging.WARNING):
        registry.refresh()
        registry.refresh()
    assert list(registry.sources) == ["helpdesk"]
    assert caplog.text.count("can't be read") == 1


def test_a_secret_ends_at_its_time_while_the_database_is_down(helpdesk: Source) -> None:
    helpdesk.secrets.get().end_at(timezone.now() + timedelta(seconds=1))
    registry = Registry()
    registry.refresh()
    assert registry.sources["helpdesk"].row.secrets
    with unreadable_secrets():
        wait_until(lambda: has_ended(registry), 5, "the end of the secret")
    assert b"/hooks/helpdesk" in registry.plain


def has_ended(registry: Registry) -> bool:
    registry.refresh()
    return not registry.sources["helpdesk"].row.secrets


def test_a_source_that_did_not_change_is_not_built_again(helpdesk: Source) -> None:
    registry = Registry()
    registry.refresh()
    before = registry.sources["helpdesk"]
    registry.refresh()
    assert registry.sources["helpdesk"] is before
    Secret.objects.create(source=helpdesk, value=NEW_SECRET)
    registry.refresh()
    assert registry.sources["helpdesk"] is not before
