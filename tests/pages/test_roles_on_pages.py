"""What each role sees and may do on the pages."""

from __future__ import annotations

import pytest

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Event, Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of


@pytest.fixture
def dead(helpdesk: Source) -> Event:
    return make_event(helpdesk, status=Status.DEAD, step="deliver", error_code="http_500")


def test_bob_retries_a_dead_letter_and_the_audit_names_him(
    sign_in: Browse, bob: User, dead: Event
) -> None:
    response = sign_in(bob).post(f"/events/{dead.public_id}/retry/", follow=True)

    dead.refresh_from_db()
    assert (dead.status, dead.run) == (Status.QUEUED, 2)
    assert "is queued again" in response.content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.object_id) == (bob, "event.retry", dead.public_id)


def test_bob_discards_a_dead_letter(sign_in: Browse, bob: User, dead: Event) -> None:
    sign_in(bob).post(f"/events/{dead.public_id}/discard/")

    dead.refresh_from_db()
    assert dead.status == Status.DISCARDED


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_vera_gets_403_for_every_action(
    sign_in: Browse, vera: User, dead: Event, verb: str
) -> None:
    client = sign_in(vera)

    assert client.post(f"/events/{dead.public_id}/{verb}/").status_code == 403
    many = client.post(f"/dead-letters/{verb}/", {"all": "1", "confirmed": "1"})
    assert many.status_code == 403
    dead.refresh_from_db()
    assert dead.status == Status.DEAD


def test_vera_sees_no_buttons(sign_in: Browse, vera: User, dead: Event) -> None:
    client = sign_in(vera)

    for path in (f"/events/{dead.public_id}/", "/dead-letters/", "/events/"):
        html = text_of(client.get(path))
        assert "/retry/" not in html
        assert "/discard/" not in html


def test_an_action_is_never_a_get(sign_in: Browse, bob: User, dead: Event) -> None:
    assert sign_in(bob).get(f"/events/{dead.public_id}/retry/").status_code == 405


@pytest.mark.parametrize("name", ["bob", "vera"])
def test_only_an_administrator_configures(
    sign_in: Browse, helpdesk: Source, name: str, request: pytest.FixtureRequest
) -> None:
    client = sign_in(request.getfixturevalue(name))
    secret = helpdesk.secrets.get()

    assert client.get("/sources/source/add/").status_code == 403
    assert client.get("/accounts/user/").status_code == 403
    assert client.get("/accounts/apitoken/").status_code == 403
    assert client.get("/audit/auditentry/").status_code == 403
    assert client.post(f"/sources/source/{helpdesk.pk}/pause/").status_code == 403
    assert client.post(f"/sources/source/secrets/{secret.pk}/retire/").status_code == 403
    assert client.get(f"/sources/source/{helpdesk.pk}/secrets/").status_code == 403


def test_support_sees_a_source_without_its_secrets_and_without_a_signed_command(
    sign_in: Browse, bob: User, helpdesk: Source
) -> None:
    html = text_of(sign_in(bob).get(f"/sources/source/{helpdesk.pk}/change/"))

    assert "/hooks/helpdesk" in html
    assert "Signing secrets" not in html
    assert "webhook-signature" not in html


def test_the_side_bar_shows_only_what_a_reader_may_open(
    sign_in: Browse, alice: User, vera: User
) -> None:
    assert "/accounts/user/" in text_of(sign_in(alice).get("/"))
    assert "/accounts/user/" not in text_of(sign_in(vera).get("/"))


def test_a_switched_off_user_is_out_at_once(sign_in: Browse, vera: User) -> None:
    client = sign_in(vera)
    vera.is_active = False
    vera.save()

    assert client.get("/events/").status_code == 302
