"""What must always hold of sources, secrets, pipelines, destinations and tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.deletion import ProtectedError
from django.utils import timezone
from pytest_django import Settings

from apps.accounts.models import ApiToken, User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination, InboxItem
from apps.pipelines.models import Pipeline
from apps.sources.models import Secret, Source
from apps.vault.vault import VaultError, decrypt, encrypt, rotate
from tests.fixtures.cast import WEBHOOK_SECRET, make_event


def read_raw(table: str, column: str) -> list[str]:
    """The column as the database has it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        return [str(value) for (value,) in cursor.fetchall()]


def test_the_database_never_sees_a_secret(helpdesk: Source, inbox: Destination) -> None:
    Destination.objects.filter(pk=inbox.pk).update(secret="whsec_of_the_inbox")
    stored = read_raw("sources_secret", "value") + read_raw("destinations_destination", "secret")
    assert stored
    assert not [value for value in stored if WEBHOOK_SECRET in value or "whsec" in value]
    assert helpdesk.secrets.get().value == WEBHOOK_SECRET
    assert Destination.objects.get(pk=inbox.pk).secret == "whsec_of_the_inbox"


def test_several_secrets_are_active_until_they_end(helpdesk: Source) -> None:
    second = Secret.objects.create(source=helpdesk, value="second")
    soon = timezone.now() + timedelta(hours=1)
    Secret.objects.create(source=helpdesk, value="later", starts_at=soon)
    assert [secret.value for secret in helpdesk.get_active_secrets()] == [WEBHOOK_SECRET, "second"]
    assert second.retire()
    assert not second.retire()
    assert [secret.value for secret in helpdesk.get_active_secrets()] == [WEBHOOK_SECRET]


def test_a_secret_does_not_end_before_it_starts(helpdesk: Source) -> None:
    before = timezone.now() - timedelta(days=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Secret.objects.create(source=helpdesk, value="x", ends_at=before)


def test_a_source_is_paused_once_and_resumed_once(helpdesk: Source) -> None:
    assert helpdesk.pause()
    assert not helpdesk.pause()
    assert helpdesk.resume()
    assert not helpdesk.resume()


def test_a_version_never_changes_and_a_new_one_takes_over(triage: Pipeline) -> None:
    first = triage.current_version
    assert first is not None
    first.prompt = "Something else"
    with pytest.raises(IntegrityError):
        first.save()
    second = triage.publish(prompt="Second", destination=first.destination)
    triage.refresh_from_db()
    assert (second.number, triage.current_version) == (2, second)


def test_an_event_keeps_the_version_it_started_with(helpdesk: Source, triage: Pipeline) -> None:
    event = make_event(helpdesk)
    started_with = event.pipeline_version
    triage.publish(prompt="Second", destination=started_with.destination)
    event.refresh_from_db()
    assert event.pipeline_version == started_with


def test_an_http_destination_needs_an_address(db: None) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Destination.objects.create(slug="crm", name="CRM", kind="http")


def test_an_inbox_takes_an_event_once(helpdesk: Source, inbox: Destination) -> None:
    event = make_event(helpdesk)
    InboxItem.objects.create(destination=inbox, event_id=event.pk, answer={})
    with pytest.raises(IntegrityError), transaction.atomic():
        InboxItem.objects.create(destination=inbox, event_id=event.pk, answer={})


def test_what_events_came_from_cannot_be_deleted_under_them(helpdesk: Source) -> None:
    make_event(helpdesk)
    with pytest.raises(ProtectedError):
        helpdesk.delete()


def test_a_token_is_found_by_its_text_and_stored_as_a_digest(alice: User) -> None:
    token, text = ApiToken.issue(alice, "script", ["events:read"])
    assert ApiToken.find(text) == token
    assert text not in "".join(read_raw("accounts_apitoken", "digest"))
    assert token.revoke()
    assert not token.revoke()
    assert ApiToken.find(text) is None


def test_a_token_ends_with_its_time_and_with_its_user(alice: User) -> None:
    _, ended = ApiToken.issue(alice, "old", ["all"], timedelta(seconds=-1))
    _, live = ApiToken.issue(alice, "new", ["all"], timedelta(days=1))
    assert ApiToken.find(ended) is None
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert ApiToken.find(live) is None


def test_the_audit_outlives_the_user(alice: User, helpdesk: Source) -> None:
    entry = AuditEntry.record(alice, "source.pause", helpdesk)
    alice.delete()
    entry.refresh_from_db()
    assert (entry.actor, entry.actor_name, entry.object_id) == (None, "alice", "helpdesk")


def test_a_new_first_key_reads_what_the_old_one_wrote(settings: Settings) -> None:
    old = settings.VAULT_KEYS
    token = encrypt("a secret")
    new = ["bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleSE="]
    settings.VAULT_KEYS = new + old
    rotated = rotate(token)
    settings.VAULT_KEYS = new
    assert decrypt(rotated) == "a secret"
    with pytest.raises(VaultError, match="VAULT_KEYS"):
        decrypt(token)
