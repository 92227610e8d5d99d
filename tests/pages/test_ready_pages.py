"""The gallery of ready pipelines, and starting one in a browser."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.pipelines.ready import get_ready_pipelines
from tests.pages.conftest import Browse, text_of

GALLERY = "/pipelines/pipeline/ready/"
ROUTING = f"{GALLERY}ticket-routing/"


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def test_the_list_and_the_empty_form_lead_to_the_gallery(
    client: Client, inbox: Destination
) -> None:
    page = text_of(client.get("/pipelines/pipeline/"))
    assert GALLERY in page
    assert "There is no pipeline yet." in page
    assert GALLERY in text_of(client.get("/pipelines/pipeline/add/"))
    assert GALLERY in text_of(client.get("/sources/source/add/"))


def test_the_gallery_shows_four_with_an_event_and_an_answer(client: Client) -> None:
    page = text_of(client.get(GALLERY))
    for slug, ready in get_ready_pipelines().items():
        assert f"{GALLERY}{slug}/" in page
        assert ready.name in page
    assert "Charged twice for one order" in page


def test_one_is_started_and_its_editor_opens(
    client: Client, alice: User, inbox: Destination
) -> None:
    typed = {"name": "Routing", "slug": "routing", "destination": inbox.pk}
    assert 'value="ticket-routing"' in text_of(client.get(ROUTING))
    response = client.post(ROUTING, typed, follow=True)
    pipeline = Pipeline.objects.get(slug="routing")
    assert response.redirect_chain == [(f"/pipelines/pipeline/{pipeline.pk}/draft/", 302)]
    page = text_of(response)
    assert "Routing” is made" in page
    assert "Route this support ticket" in page
    version = pipeline.current_version
    assert version
    ready = get_ready_pipelines()["ticket-routing"]
    assert {name: getattr(version, name) for name in ready.config} == ready.config
    assert (version.created_by, version.destination) == (alice, inbox)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.details) == ("pipeline.create", {"ready": "ticket-routing"})


def test_a_slug_that_is_taken_or_reserved_is_refused(client: Client, triage: Pipeline) -> None:
    typed = {"name": "Other", "destination": triage.current_version.destination_id}  # type: ignore[union-attr]
    for slug, reason in (("triage", "already exists"), ("ready", "address of ready pipelines")):
        assert reason in text_of(client.post(ROUTING, typed | {"slug": slug}))
    assert Pipeline.objects.count() == 1


def test_without_a_destination_the_page_says_what_to_do_first(client: Client, db: None) -> None:
    assert "First a destination" in text_of(client.get(ROUTING))


def test_there_is_no_other(client: Client, inbox: Destination) -> None:
    assert client.get(f"{GALLERY}fortune-telling/").status_code == 404


@pytest.mark.parametrize("path", [GALLERY, ROUTING])
def test_only_who_may_add_pipelines_sees_them(
    sign_in: Browse, bob: User, inbox: Destination, path: str
) -> None:
    client = sign_in(bob)
    assert client.get(path).status_code == 403
    assert client.post(path).status_code == 403
    assert GALLERY not in text_of(client.get("/pipelines/pipeline/"))
