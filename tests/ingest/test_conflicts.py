"""From the sender to the database: one id with two bodies, one event under two ids, two secrets."""

from __future__ import annotations

import httpx
import pytest

from apps.events import intake
from apps.events.ids import parse_public_id
from apps.events.models import Event
from apps.sources.models import Secret, Source
from tests.ingest.conftest import BODY, Hooks, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = BODY.replace(b"parcel", b"refund")
NEW_SECRET = "whsec_" + "bmV3LXNlY3JldC1vZi10aGUtdGVzdHMtMzItYnl0ZXM="


def store(hooks: Hooks) -> None:
    """What the dispatcher does with all that lies in the queue."""
    entries = hooks.entries()
    assert intake.store(entries).settled == entries


def test_another_body_under_the_same_id_is_kept_and_answered_as_a_duplicate(hooks: Hooks) -> None:
    first, other, again = hooks.post(), hooks.post(OTHER), hooks.post()

    assert (first.status_code, other.status_code, again.status_code) == (202, 200, 200)
    assert other.json() == again.json() == first.json() | {"duplicate": True}
    store(hooks)
    event = Event.objects.get()
    assert event.public_id == first.json()["id"]
    assert bytes(event.body.raw) == BODY
    assert [bytes(conflict.raw) for conflict in event.conflicts.all()] == [OTHER]
    assert not event.aliases.exists()


def test_when_the_queue_has_forgotten_the_key_the_new_id_leads_to_the_first(hooks: Hooks) -> None:
    first = hooks.post().json()["id"]
    store(hooks)
    hooks.queue.flushall()

    answer = hooks.post()
    store(hooks)

    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
    assert answer.json()["id"] != first
    event = Event.find(parse_public_id(answer.json()["id"]))
    assert event == Event.objects.get()
    assert event.public_id == first


def test_a_rotation_refuses_nothing_and_each_event_knows_its_secret(
    hooks: Hooks, helpdesk: Source
) -> None:
    old = helpdesk.secrets.get()
    new = Secret(source=helpdesk, value=NEW_SECRET)
    helpdesk.rotate(new, None)

    def post(event_id: str, secret: str) -> httpx.Response:
        signed = sign(BODY, event_id, secret=secret)
        return hooks.client.post("/hooks/helpdesk", content=BODY, headers=signed)

    wait_until(lambda: post("new", NEW_SECRET).status_code != 401, 5, "the new secret")
    assert hooks.post(event_id="old").status_code == 202
    store(hooks)
    verifiers = dict(Event.objects.values_list("idempotency_key", "secret_id"))
    assert (verifiers["new"], verifiers["old"]) == (new.pk, old.pk)

    old.retire()
    wait_until(lambda: hooks.post(event_id="late").status_code == 401, 5, "the end of the old one")
    assert post("on", NEW_SECRET).status_code == 202
