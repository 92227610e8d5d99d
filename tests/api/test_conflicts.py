"""Other bodies under an event's id, its other ids, and the secret that verified it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.ids import get_public_id, new_event_id
from apps.events.models import Event, EventAlias, Status
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import WEBHOOK_SECRET, make_event
from tests.fixtures.conflicts import make_conflict

EVENTS = "/api/v1/events/"
OTHER = b'{"text": "other \xe2\x82\xac"}'


@pytest.fixture
def client(bob: User) -> APIClient:
    return with_token(bob)


def test_an_event_says_whether_another_body_came(client: APIClient, helpdesk: Source) -> None:
    plain, torn = make_event(helpdesk), make_event(helpdesk)
    make_conflict(torn)
    make_conflict(torn, b"{}")
    rows = {row["id"]: row["has_conflicts"] for row in client.get(EVENTS).json()["results"]}
    assert rows == {plain.public_id: False, torn.public_id: True}
    only = client.get(EVENTS, {"conflicts": "true"}).json()["results"]
    assert [row["id"] for row in only] == [torn.public_id]


def test_the_other_bodies_are_listed(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    conflict = make_conflict(event, OTHER, secret=helpdesk.secrets.get(), event_type="ticket")
    (row,) = client.get(f"{EVENTS}{event.public_id}/conflicts/").json()
    assert row["id"] == conflict.public_id
    assert row["body"] == OTHER.decode()
    assert (row["size_bytes"], row["sha256"]) == (len(OTHER), conflict.sha256)
    assert row["secret"] == {"id": conflict.secret_id, "label": f"Secret {conflict.secret_id}"}
    assert row["processed_at"] is None


@pytest.mark.django_db(transaction=True)
def test_a_processed_conflict_is_an_event_of_its_own_once(
    client: APIClient, bob: User, helpdesk: Source
) -> None:
    event = make_event(helpdesk, idempotency_key="T-1", status=Status.DELIVERED)
    conflict = make_conflict(event, OTHER, secret=helpdesk.secrets.get(), event_type="ticket")
    path = f"{EVENTS}{event.public_id}/conflicts/process/"

    answer = client.post(path, {"ids": [conflict.public_id]})

    assert (answer.status_code, answer.json()) == (202, {"done": 1, "skipped": 0})
    own = Event.objects.get(pk=conflict.pk)
    assert own.idempotency_key == f"T-1#conflict-{conflict.sha256[:8]}"
    assert (own.status, own.run, own.event_type) == ("queued", 1, "ticket")
    assert (own.secret, own.body_sha256) == (helpdesk.secrets.get(), conflict.sha256)
    assert bytes(own.body.raw) == OTHER
    assert client.post(path, {}).json() == {"done": 0, "skipped": 1}
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.object_id, entry.details) == (
        bob,
        "event.process_conflict",
        event.public_id,
        {"made": conflict.public_id},
    )


def test_all_of_an_event_are_processed_at_once(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    other_event = make_event(helpdesk)
    for number in range(3):
        make_conflict(event, b"%d" % number)
    left = make_conflict(other_event)
    answer = client.post(f"{EVENTS}{event.public_id}/conflicts/process/", {})
    assert answer.json() == {"done": 3, "skipped": 0}
    assert not Event.objects.filter(pk=left.pk).exists()


def test_a_conflict_whose_key_is_taken_stays_as_it_is(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    conflict = make_conflict(event)
    make_event(helpdesk, idempotency_key=conflict.own_key)
    answer = client.post(f"{EVENTS}{event.public_id}/conflicts/process/", {})
    assert answer.json() == {"done": 0, "skipped": 1}
    conflict.refresh_from_db()
    assert conflict.processed_at is None
    assert not AuditEntry.objects.exists()


def test_a_long_key_gets_a_short_one(helpdesk: Source) -> None:
    event = make_event(helpdesk, idempotency_key="k" * 255)
    conflict = make_conflict(event)
    assert len(conflict.own_key) < 255
    assert conflict.own_key.endswith(f"#conflict-{conflict.sha256[:8]}")
    assert conflict.process()


def test_who_only_views_processes_nothing(vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    make_conflict(event)
    viewer = with_token(vera)
    assert viewer.get(f"{EVENTS}{event.public_id}/conflicts/").status_code == 200
    assert_problem(viewer.post(f"{EVENTS}{event.public_id}/conflicts/process/", {}), 403)
    assert Event.objects.count() == 1


def test_a_mistyped_id_of_a_conflict_processes_nothing(client: APIClient, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    make_conflict(event)
    path = f"{EVENTS}{event.public_id}/conflicts/process/"
    wrong: tuple[dict[str, Any], ...] = ({"ids": ["evt_1"]}, {"ids": []}, {"id": "x"})
    for body in wrong:
        assert_problem(client.post(path, body), 400)
    assert Event.objects.count() == 1


def test_each_id_that_a_sender_was_told_leads_to_the_event(
    client: APIClient, helpdesk: Source
) -> None:
    event = make_event(helpdesk)
    alias = EventAlias.objects.create(id=new_event_id(), event=event, received_at=timezone.now())
    conflict = make_conflict(event)
    make_event(helpdesk)
    for other in (alias.pk, conflict.pk):
        asked = client.get(f"{EVENTS}{get_public_id(other)}/")
        assert (asked.status_code, asked.json()["id"]) == (200, event.public_id)
        found = client.get(EVENTS, {"q": get_public_id(other)}).json()["results"]
        assert [row["id"] for row in found] == [event.public_id]
    assert_problem(client.get(f"{EVENTS}{get_public_id(new_event_id())}/"), 404)


def test_an_event_names_its_secret_and_not_its_value(client: APIClient, helpdesk: Source) -> None:
    secret = helpdesk.secrets.get()
    secret.name = "from the desk"
    secret.save()
    event = make_event(helpdesk, secret=secret)
    for path in (EVENTS, f"{EVENTS}{event.public_id}/"):
        text = client.get(path).content.decode()
        assert f'"label":"Secret {secret.pk} (from the desk)"' in text
        assert WEBHOOK_SECRET.removeprefix("whsec_") not in text
