"""Rotating a secret in the browser: overlap, last use, and a question before something breaks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.sources import models
from apps.sources.models import Secret, Source
from tests.fixtures.cast import WEBHOOK_SECRET, make_event
from tests.pages.conftest import Browse, text_of

NEW_SECRET = "whsec_" + "bmV3LXNlY3JldC1vZi10aGUtdGVzdHMtMzItYnl0ZXM="


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


@pytest.fixture
def old(helpdesk: Source) -> Secret:
    return helpdesk.secrets.get()


def get_table(client: Client, source: Source) -> str:
    html = text_of(client.get(f"/sources/source/{source.pk}/change/"))
    return " ".join(html[html.index('id="secrets-title"') :].split())


def rotate(client: Client, source: Source, **form: str) -> str:
    given = {"value": "", "name": "November", "others_end": "24h"}
    return text_of(client.post(f"/sources/source/{source.pk}/secrets/", given | form, follow=True))


def retire(client: Client, secret: Secret, **form: str) -> str:
    return text_of(client.post(f"/sources/source/secrets/{secret.pk}/retire/", form, follow=True))


def test_a_rotation_leaves_both_active_until_the_old_one_ends(
    client: Client, helpdesk: Source, old: Secret
) -> None:
    html = rotate(client, helpdesk)

    new = helpdesk.secrets.exclude(pk=old.pk).get()
    assert html.count(new.value) == 1
    assert helpdesk.get_active_secrets() == [old, new]
    old.refresh_from_db()
    assert old.ends_at is not None
    assert timedelta(hours=23) < old.ends_at - timezone.now() <= timedelta(hours=24)
    table = get_table(client, helpdesk)
    assert new.value not in table
    assert f"Secret {new.pk} (November)" in table
    assert "Ends in 23" in table
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.details["others_end_at"]) == (
        "secret.create",
        old.ends_at.isoformat(),
    )


def test_a_pasted_secret_is_never_sent_back(client: Client, helpdesk: Source) -> None:
    html = rotate(client, helpdesk, value=NEW_SECRET)

    assert NEW_SECRET not in html
    assert [each.value for each in helpdesk.get_active_secrets()] == [WEBHOOK_SECRET, NEW_SECRET]


def test_a_rotation_without_an_end_ends_nothing(
    client: Client, helpdesk: Source, old: Secret
) -> None:
    rotate(client, helpdesk, others_end="")

    old.refresh_from_db()
    assert old.ends_at is None


def test_an_earlier_end_stays_as_it_is(client: Client, helpdesk: Source, old: Secret) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    Secret.objects.filter(pk=old.pk).update(ends_at=soon)

    rotate(client, helpdesk)

    old.refresh_from_db()
    assert old.ends_at == soon


def test_it_warns_while_the_new_secret_has_verified_nothing(
    client: Client, helpdesk: Source
) -> None:
    rotate(client, helpdesk)
    warning = "no event has come yet that is signed with a newer one"
    assert warning in get_table(client, helpdesk)

    helpdesk.secrets.filter(name="November").update(last_used_at=timezone.now())
    assert warning not in get_table(client, helpdesk)


def test_the_table_tells_uses_and_states(client: Client, helpdesk: Source, old: Secret) -> None:
    tomorrow = timezone.now() + timedelta(days=1, minutes=1)
    later = Secret.objects.create(source=helpdesk, value=NEW_SECRET, starts_at=tomorrow)
    gone = Secret.objects.create(source=helpdesk, value=NEW_SECRET)
    gone.retire()
    for _ in range(3):
        make_event(helpdesk, secret=old)
    old.note_use(old.pk, timezone.now())

    table = get_table(client, helpdesk)

    assert "3 events" in table
    assert "never" in table
    assert "Starts in 1" in table
    assert "1 retired" in table
    assert f"/secrets/{later.pk}/retire/" in table
    assert f"/secrets/{gone.pk}/retire/" not in table


def test_a_secret_that_nobody_uses_is_retired_by_one_click(
    client: Client, helpdesk: Source, old: Secret
) -> None:
    new = Secret.objects.create(source=helpdesk, value=NEW_SECRET)

    assert "The secret is retired" in retire(client, old)
    assert helpdesk.get_active_secrets() == [new]


def test_one_that_was_used_lately_asks_first_and_says_how_much(
    client: Client, helpdesk: Source, old: Secret
) -> None:
    Secret.objects.create(source=helpdesk, value=NEW_SECRET)
    for _ in range(12):
        make_event(helpdesk, secret=old)

    html = retire(client, old)

    assert "It verified 12 events in the last hour" in html
    assert "the only active secret" not in html
    assert old in helpdesk.get_active_secrets()
    retire(client, old, confirmed="1")
    assert old not in helpdesk.get_active_secrets()


def test_the_only_active_one_asks_first(client: Client, helpdesk: Source, old: Secret) -> None:
    Secret.objects.create(source=helpdesk, value=NEW_SECRET).retire()

    assert "the source will refuse everything" in retire(client, old)

    assert helpdesk.get_active_secrets() == [old]
    retire(client, old, confirmed="1")
    assert "There is none that verifies" in get_table(client, helpdesk)
    assert "Add a secret" in get_table(client, helpdesk)


def test_who_comes_second_to_retire_is_told(client: Client, helpdesk: Source, old: Secret) -> None:
    old.retire()

    assert "had ended" in retire(client, old, confirmed="1")
    assert not AuditEntry.objects.exists()


def test_an_end_is_given_moved_and_taken_back(
    client: Client, helpdesk: Source, old: Secret
) -> None:
    path = f"/sources/source/secrets/{old.pk}/change/"
    assert "as it is now" in text_of(client.get(path))

    for choice, hours in (("3d", 72), ("1h", 1)):
        client.post(path, {"name": "old", "end": choice})
        old.refresh_from_db()
        assert old.ends_at is not None
        assert abs(old.ends_at - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=1)
    client.post(path, {"name": "older", "end": "keep"})
    old.refresh_from_db()
    assert old.ends_at is not None
    client.post(path, {"name": "older", "end": ""})
    old.refresh_from_db()
    assert (str(old.ends_at), old.label) == ("None", f"Secret {old.pk} (older)")
    told = AuditEntry.objects.filter(action="secret.update").order_by("pk")
    fields = [details["fields"] for details in told.values_list("details", flat=True)]
    assert fields[1:3] == [["name", "ends_at"], ["name"]]


def test_a_retired_secret_gets_no_new_end(client: Client, helpdesk: Source, old: Secret) -> None:
    old.retire()
    path = f"/sources/source/secrets/{old.pk}/change/"

    assert "It ends" not in text_of(client.get(path))
    client.post(path, {"name": "kept for the audit", "end": ""})

    old.refresh_from_db()
    assert old.name == "kept for the audit"
    assert helpdesk.get_active_secrets() == []


def test_very_many_events_are_counted_no_further_than_needed(
    client: Client, helpdesk: Source, old: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "COUNTED_EVENTS", 5)
    monkeypatch.setattr("apps.sources.secret_pages.COUNTED_EVENTS", 5)
    for _ in range(7):
        make_event(helpdesk, secret=old)

    assert "at least 5 events" in get_table(client, helpdesk)


def test_nobody_but_an_administrator_changes_a_secret(
    sign_in: Browse, bob: User, helpdesk: Source, old: Secret
) -> None:
    support = sign_in(bob)
    for path in (f"{helpdesk.pk}/secrets", f"secrets/{old.pk}/change", f"secrets/{old.pk}/retire"):
        assert support.post(f"/sources/source/{path}/", {"confirmed": "1"}).status_code == 403
    assert helpdesk.get_active_secrets() == [old]
