"""Forms of sources, pipelines, destinations, people and tokens."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import ApiToken, User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import WEBHOOK_SECRET
from tests.pages.conftest import Browse, text_of

ADD_SOURCE = "/sources/source/add/?scheme=standard-webhooks"


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def get_pipeline_form(pipeline: Pipeline, **changes: Any) -> dict[str, Any]:
    version = pipeline.current_version
    assert version is not None
    return {
        "name": pipeline.name,
        "slug": pipeline.slug,
        "prompt": version.prompt,
        "model": version.model,
        "output_schema": '{"type": "object"}',
        "max_output_tokens": 500,
        "on_unknown": "hold",
        "destination": version.destination_id,
    } | changes


def test_a_new_source_shows_its_secret_once_and_never_again(
    client: Client, triage: Pipeline
) -> None:
    form = {"name": "Desk", "slug": "desk", "pipeline": triage.pk, "option_tolerance_s": "300"}

    html = text_of(client.post(ADD_SOURCE, form))

    source = Source.objects.get(slug="desk")
    value = source.secrets.get().value
    assert value.startswith("whsec_")
    assert html.count(f">{value}</pre>") == 1
    assert value not in text_of(client.get(f"/sources/source/{source.pk}/change/"))


def test_a_wrong_option_is_told_at_its_field(client: Client, triage: Pipeline) -> None:
    form = {"name": "Desk", "slug": "desk", "pipeline": triage.pk, "option_tolerance_s": "-1"}

    html = text_of(client.post(ADD_SOURCE, form))

    assert "greater than or equal to 0" in html
    assert not Source.objects.exists()


def test_a_secret_that_the_scheme_cannot_use_is_refused_and_not_sent_back(
    client: Client, triage: Pipeline
) -> None:
    form = {"name": "Desk", "slug": "desk", "pipeline": triage.pk, "secret": "whsec_!not-base64!"}

    html = text_of(client.post(ADD_SOURCE, form))

    assert "errornote" in html
    assert "not-base64" not in html
    assert not Source.objects.exists()


def test_a_rotation_adds_a_second_secret_and_retires_the_first(
    client: Client, helpdesk: Source
) -> None:
    first = helpdesk.secrets.get()

    html = text_of(client.post(f"/sources/source/{helpdesk.pk}/secrets/", {"value": ""}))
    client.post(f"/sources/source/secrets/{first.pk}/retire/")

    (active,) = helpdesk.get_active_secrets()
    assert active.pk != first.pk
    assert active.value in html
    actions = AuditEntry.objects.values_list("action", flat=True)
    assert set(actions) == {"secret.create", "secret.retire"}


def test_a_source_is_paused_and_resumed(client: Client, helpdesk: Source) -> None:
    client.post(f"/sources/source/{helpdesk.pk}/pause/")
    helpdesk.refresh_from_db()
    assert helpdesk.paused_at is not None

    client.post(f"/sources/source/{helpdesk.pk}/resume/")
    helpdesk.refresh_from_db()
    assert helpdesk.paused_at is None


def test_a_new_name_publishes_no_version(client: Client, triage: Pipeline) -> None:
    client.post(
        f"/pipelines/pipeline/{triage.pk}/change/", {"name": "Renamed", "slug": triage.slug}
    )
    triage.refresh_from_db()
    assert triage.name == "Renamed"
    assert triage.versions.count() == 1


def test_a_new_pipeline_begins_with_what_its_form_says(client: Client, triage: Pipeline) -> None:
    form = get_pipeline_form(triage, name="Second", slug="second", prompt="Sort:\r\n{{ text }}")
    html = text_of(client.post("/pipelines/pipeline/add/", form | {"filter": "text["}))
    assert "errornote" in html
    client.post("/pipelines/pipeline/add/", form)
    version = Pipeline.objects.get(slug="second").current_version
    assert version is not None
    assert (version.number, version.prompt) == (1, "Sort:\n{{ text }}")


def test_a_destination_keeps_its_secret_when_the_field_stays_empty(client: Client) -> None:
    crm = Destination.objects.create(
        slug="crm", name="CRM", kind="http", url="https://crm.example.com/", secret=WEBHOOK_SECRET
    )
    form = {"name": "CRM 2", "slug": "crm", "kind": "http", "url": crm.url, "secret": ""}

    client.post(f"/destinations/destination/{crm.pk}/change/", form)

    crm.refresh_from_db()
    assert (crm.name, crm.secret) == ("CRM 2", WEBHOOK_SECRET)


def test_an_address_with_a_password_in_it_is_refused(client: Client) -> None:
    form = {"name": "X", "slug": "x", "kind": "http", "url": "https://me:pw@example.com/"}

    html = text_of(client.post("/destinations/destination/add/", form))

    assert "errornote" in html
    assert not Destination.objects.exists()


def test_a_token_is_shown_once(client: Client, alice: User) -> None:
    form = {"name": "Import", "scopes": ["events:read"], "days": "90"}

    html = text_of(client.post("/accounts/apitoken/add/", form))

    shown = re.search(r"pat_[A-Za-z0-9_-]{40,}", html)
    assert shown
    token = ApiToken.find(shown[0])
    assert token is not None
    assert (token.user, token.scopes) == (alice, ["events:read"])
    assert shown[0] not in text_of(client.get(f"/accounts/apitoken/{token.pk}/change/"))
    client.post(f"/accounts/apitoken/{token.pk}/revoke/")
    assert ApiToken.find(shown[0]) is None


def test_a_new_user_gets_exactly_the_chosen_role(client: Client) -> None:
    form = {"username": "dora", "role": "support", "usable_password": "true"}
    form |= {"password1": "a long enough one", "password2": "a long enough one"}

    client.post("/accounts/user/add/", form)

    dora = User.objects.get(username="dora")
    assert (dora.get_role(), dora.is_staff, dora.is_superuser) == ("support", True, False)


def test_the_last_administrator_keeps_the_role(client: Client, alice: User) -> None:
    form = {"username": "alice", "email": "", "role": "viewer", "is_active": "on"}

    html = text_of(client.post(f"/accounts/user/{alice.pk}/change/", form))

    assert "the last administrator" in html
    assert User.objects.get(pk=alice.pk).get_role() == "admin"


def test_no_page_holds_a_secret(client: Client, helpdesk: Source) -> None:
    crm = Destination.objects.create(
        slug="crm", name="CRM", kind="http", url="https://crm.example.com/", secret=WEBHOOK_SECRET
    )
    paths = (
        "/",
        "/sources/source/",
        f"/sources/source/{helpdesk.pk}/change/",
        f"/destinations/destination/{crm.pk}/change/",
        "/destinations/destination/",
        "/audit/auditentry/",
    )

    for path in paths:
        assert WEBHOOK_SECRET.removeprefix("whsec_") not in text_of(client.get(path)), path
