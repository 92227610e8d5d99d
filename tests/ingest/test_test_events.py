"""The button “Send a test event” goes the whole way through ingest, for every scheme."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import ApiToken, User
from apps.audit.models import AuditEntry
from apps.pipelines.models import Pipeline
from apps.sources.loopback import post
from apps.sources.models import Secret, Source
from apps.sources.sample_request import make_request
from apps.sources.schemes import SCHEMES, make_secret
from tests.ingest.conftest import Hooks
from tests.pages.conftest import IN_MEMORY
from tests.waiting import wait_until


class Admin:
    """Alice at the page of a source, on the server under test."""

    def __init__(self, alice: User, hooks: Hooks) -> None:
        self.client = Client()
        self.client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
        port = hooks.base_url.rpartition(":")[2]
        # What uvicorn says of the socket that the visitor's request came by.
        self.socket: dict[str, Any] = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": port}

    def press(self, source: Source) -> str:
        answer = self.client.post(f"/sources/source/{source.pk}/test/", **self.socket)
        assert answer.status_code == 200
        return answer.content.decode()


@pytest.fixture
def admin(alice: User, hooks: Hooks, settings: Settings) -> Admin:
    settings.CHANNEL_LAYERS = IN_MEMORY
    return Admin(alice, hooks)


def make_source(slug: str, pipeline: Pipeline) -> Source:
    with transaction.atomic():  # as the form does: ingest never sees it without its secret
        source = Source.objects.create(slug=slug, name=slug, scheme=slug, pipeline=pipeline)
        Secret.objects.create(source=source, value=make_secret(slug))
    return source


def test_a_test_event_is_accepted_for_every_scheme(
    admin: Admin, hooks: Hooks, triage: Pipeline
) -> None:
    slugs = [slug for slug, info in SCHEMES.items() if info.can_sign and info.needs_secret]
    refused = {}

    for slug in slugs:
        html = admin.press(make_source(slug, triage))
        if "accepted" not in html:
            refused[slug] = html

    assert refused == {}
    assert len(hooks.entries()) == len(slugs)
    assert all(b"test_" in entry.body for entry in hooks.entries())


def test_the_answer_names_the_event_and_the_audit_who_sent_it(
    admin: Admin, hooks: Hooks, helpdesk: Source, alice: User
) -> None:
    html = admin.press(helpdesk)

    (entry,) = hooks.entries()
    assert f"/events/evt_{entry.event_id.replace('-', '')}/" in html
    assert entry.key.startswith("test_")
    assert AuditEntry.objects.filter(action="source.test", actor=alice).count() == 1


def test_the_api_sends_one_too(admin: Admin, hooks: Hooks, helpdesk: Source, alice: User) -> None:
    _, token = ApiToken.issue(alice, "tests", ["config:write"])
    answer = Client().post(
        "/api/v1/sources/helpdesk/test/", headers={"Authorization": f"Bearer {token}"},
        **admin.socket,
    )  # fmt: skip

    (entry,) = hooks.entries()
    event_id = "evt_" + entry.event_id.replace("-", "")
    assert answer.json() == {
        "status": 202, "is_accepted": True, "detail": "", "event_id": event_id,
    }  # fmt: skip


def test_a_refusal_is_shown_in_its_own_words(admin: Admin, helpdesk: Source) -> None:
    helpdesk.pause()

    html = admin.press(helpdesk)

    assert "503" in html
    assert "paused" in html
    assert "accepted" not in html


@pytest.mark.parametrize(
    ("slug", "event_type"),
    [("github", "issues"), ("stripe", "payment_intent.succeeded"), ("api-key", "")],
)
def test_it_has_a_type_that_this_provider_sends(
    admin: Admin, hooks: Hooks, triage: Pipeline, slug: str, event_type: str
) -> None:
    admin.press(make_source(slug, triage))

    (entry,) = hooks.entries()
    assert entry.event_type == event_type


def test_it_has_a_type_that_the_rules_take(admin: Admin, hooks: Hooks, helpdesk: Source) -> None:
    helpdesk.rules = {"event_types": ["ticket.*", "order"]}
    helpdesk.save()
    wait_until(lambda: hooks.post(event_id=uuid4().hex).json() == {"ignored": True}, 5)

    assert "accepted" in admin.press(helpdesk)

    assert hooks.entries()[-1].event_type == "ticket.test"


def test_one_that_is_ignored_is_not_called_accepted(
    admin: Admin, hooks: Hooks, triage: Pipeline
) -> None:
    source = make_source("linear", triage)  # its type is made of two fields: none can be written
    source.rules = {"event_types": ["Issue.create"]}
    source.save()

    def is_ignored() -> bool:
        return "Ignored: the source does not take events of this type." in admin.press(source)

    wait_until(is_ignored, 5)


def test_a_test_from_an_address_that_is_not_listed_says_whose_it_is(
    admin: Admin, helpdesk: Source
) -> None:
    helpdesk.rules = {"addresses": ["192.0.2.0/24"]}
    helpdesk.save()
    wait_until(lambda: "403" in admin.press(helpdesk), 5)
    assert "comes from this server itself" in admin.press(helpdesk)


def test_without_a_secret_nothing_is_sent(admin: Admin, hooks: Hooks, helpdesk: Source) -> None:
    helpdesk.secrets.all().delete()

    assert "no active secret" in admin.press(helpdesk)
    assert hooks.entries() == []


@pytest.mark.parametrize("port", ["0", "unknown", "None"])
def test_a_server_without_a_port_says_so(helpdesk: Source, port: str) -> None:
    outcome = post(make_request(helpdesk), "/run/web.sock", port)

    assert not outcome.is_accepted
    assert "no port" in outcome.detail


def test_a_port_where_nobody_answers_is_told(helpdesk: Source) -> None:
    outcome = post(make_request(helpdesk), "127.0.0.1", "1")

    assert (outcome.status, outcome.is_accepted) == (0, False)
    assert outcome.detail.endswith(".")
