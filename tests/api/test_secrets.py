"""Secrets go in and never come out again, except a new one, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination
from apps.events.models import Status
from apps.sources.models import Secret, Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import WEBHOOK_SECRET, make_event

SECRETS = "/api/v1/secrets/"
NEW_SECRET = "whsec_" + "bmV3LXNlY3JldC1vZi10aGUtdGVzdHMtMzItYnl0ZXM="


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


def test_no_answer_of_the_api_holds_a_secret(client: APIClient, helpdesk: Source) -> None:
    Destination.objects.create(
        slug="crm", name="CRM", kind="http", url="https://crm.example.com", secret=NEW_SECRET
    )
    event = make_event(helpdesk, status=Status.DEAD)
    asked = (
        *("sources/", "sources/helpdesk/", "destinations/", "destinations/crm/", "tokens/"),
        *("secrets/", f"secrets/{helpdesk.secrets.get().pk}/", "pipelines/", "audit/", "stats/"),
        *("events/", f"events/{event.public_id}/", "dead-letters/", "openapi.json"),
    )
    for path in asked:
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 200
        for secret in (WEBHOOK_SECRET, NEW_SECRET):
            assert secret.removeprefix("whsec_") not in answer.content.decode(), path


def test_a_secret_that_is_given_stays_out_of_answer_and_audit(
    client: APIClient, helpdesk: Source
) -> None:
    body = {
        "slug": "s2",
        "name": "S2",
        "scheme": "standard-webhooks",
        "secrets": [NEW_SECRET],
        "pipeline": "triage",
    }
    made = client.post("/api/v1/sources/", body)
    assert made.status_code == 201
    crm = {"slug": "crm", "name": "CRM", "kind": "http", "url": "https://crm.example.com"}
    made_too = client.post("/api/v1/destinations/", crm | {"secret": NEW_SECRET})
    assert made_too.json()["has_secret"] is True
    audit = str(list(AuditEntry.objects.values()))
    for text in (made.content.decode(), made_too.content.decode(), audit):
        assert NEW_SECRET.removeprefix("whsec_") not in text


def test_a_refused_secret_is_not_repeated(client: APIClient, helpdesk: Source) -> None:
    typed = "whsec_%%%-nearly-a-secret"
    answer = client.post(SECRETS, {"source": "helpdesk", "value": typed})
    assert list(assert_problem(answer, 400)["errors"]) == ["value"]
    assert "nearly" not in answer.content.decode()


def test_a_new_secret_is_made_shown_once_and_verifies_beside_the_old(
    client: APIClient, helpdesk: Source
) -> None:
    made = client.post(SECRETS, {"source": "helpdesk"})
    assert made.status_code == 201
    value = made.json()["value"]
    assert value.startswith("whsec_")
    active = [secret.value for secret in helpdesk.get_active_secrets()]
    assert active == [WEBHOOK_SECRET, value]
    again = client.get(f"{SECRETS}{made.json()['id']}/")
    assert "value" not in again.json()


def test_a_secret_is_kept_encrypted(client: APIClient, helpdesk: Source) -> None:
    from django.db import connection

    client.post(SECRETS, {"source": "helpdesk", "value": NEW_SECRET})
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM sources_secret")
        stored = str(cursor.fetchall())
    assert NEW_SECRET not in stored
    assert WEBHOOK_SECRET not in stored


def test_a_secret_can_begin_and_end_later(client: APIClient, helpdesk: Source) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    body = {"source": "helpdesk", "starts_at": tomorrow.isoformat()}
    assert client.post(SECRETS, body).json()["is_active"] is False
    early = body | {"ends_at": timezone.now().isoformat()}
    assert list(assert_problem(client.post(SECRETS, early), 400)["errors"]) == ["ends_at"]


def test_a_retired_secret_ends_now_and_only_once(client: APIClient, helpdesk: Source) -> None:
    secret = helpdesk.secrets.get()
    answer = client.post(f"{SECRETS}{secret.pk}/retire/")
    assert answer.status_code == 200
    assert answer.json()["is_active"] is False
    assert helpdesk.get_active_secrets() == []
    assert_problem(client.post(f"{SECRETS}{secret.pk}/retire/"), 409, "ended before")


def test_a_secret_of_the_future_can_be_retired(client: APIClient, helpdesk: Source) -> None:
    later = timezone.now() + timedelta(days=1)
    secret = Secret.objects.create(source=helpdesk, value=NEW_SECRET, starts_at=later)
    assert client.post(f"{SECRETS}{secret.pk}/retire/").status_code == 200
    secret.refresh_from_db()
    assert secret.ends_at == secret.starts_at


def test_deleting_retires_so_that_the_audit_keeps_its_object(
    client: APIClient, helpdesk: Source
) -> None:
    secret = helpdesk.secrets.get()
    assert client.delete(f"{SECRETS}{secret.pk}/").status_code == 204
    assert client.delete(f"{SECRETS}{secret.pk}/").status_code == 204
    assert Secret.objects.filter(pk=secret.pk).exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.details["source"]) == ("secret.retire", "helpdesk")


def test_secrets_are_listed_by_source(client: APIClient, helpdesk: Source) -> None:
    other = Source.objects.create(
        slug="shop", name="Shop", scheme="github", pipeline=helpdesk.pipeline
    )
    Secret.objects.create(source=other, value="s")
    rows = client.get(SECRETS, {"source": "shop"}).json()["results"]
    assert [row["source"] for row in rows] == ["shop"]


def test_a_rotation_is_one_request_with_an_overlap(client: APIClient, helpdesk: Source) -> None:
    old = helpdesk.secrets.get()
    tomorrow = timezone.now() + timedelta(days=1)
    body = {"source": "helpdesk", "name": "November", "others_end_at": tomorrow.isoformat()}
    made = client.post(SECRETS, body)
    assert (made.status_code, made.json()["name"], made.json()["state"]) == (
        201,
        "November",
        "active",
    )
    row = client.get(f"{SECRETS}{old.pk}/").json()
    assert (row["state"], row["is_active"], row["last_used_at"]) == ("ending", True, None)
    assert len(helpdesk.get_active_secrets()) == 2
    assert AuditEntry.objects.get().details["others_end_at"] == tomorrow.isoformat()


def test_a_rotation_leaves_no_gap(client: APIClient, helpdesk: Source) -> None:
    now = timezone.now()
    later, sooner = now + timedelta(days=2), now + timedelta(days=1)
    body = {"source": "helpdesk", "starts_at": later.isoformat()}
    for end in (sooner, now - timedelta(seconds=1)):
        answer = client.post(SECRETS, body | {"others_end_at": end.isoformat()})
        assert list(assert_problem(answer, 400)["errors"]) == ["others_end_at"]
    assert len(helpdesk.get_active_secrets()) == 1


def test_name_and_end_are_changed_until_it_has_ended(client: APIClient, helpdesk: Source) -> None:
    secret = helpdesk.secrets.get()
    path = f"{SECRETS}{secret.pk}/"
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    assert client.patch(path, {"name": "old", "ends_at": tomorrow}).json()["state"] == "ending"
    assert client.patch(path, {"ends_at": None}).json()["state"] == "active"
    past = {"ends_at": timezone.now().isoformat()}
    assert list(assert_problem(client.patch(path, past), 400)["errors"]) == ["ends_at"]
    assert_problem(client.patch(path, {"value": NEW_SECRET}), 400)
    secret.refresh_from_db()
    assert (secret.name, secret.value) == ("old", WEBHOOK_SECRET)
    secret.retire()
    assert_problem(client.patch(path, {"ends_at": tomorrow}), 409, "has ended")
    assert client.patch(path, {"name": "kept"}).status_code == 200
    assert helpdesk.get_active_secrets() == []
