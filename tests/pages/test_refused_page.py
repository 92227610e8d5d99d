"""Refused requests on the pages: why, what to do, verified again, accepted or discarded."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.ingest import refused_many
from apps.ingest.models import RefusedRequest, State
from apps.sources.models import Secret, Source
from apps.streams.clients import get_client
from apps.streams.entries import STREAM
from tests.fixtures.refused import OTHER_SECRET, make_refused
from tests.pages.conftest import Browse, text_of
from tests.pages.test_dead_letters_page import get_fields


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


@pytest.fixture
def refused(helpdesk: Source) -> list[RefusedRequest]:
    """Two whose secret is not ours, and one that came an hour late."""
    return [
        make_refused(helpdesk, "one", secret=OTHER_SECRET),
        make_refused(helpdesk, "two", secret=OTHER_SECRET),
        make_refused(helpdesk, "late", age_s=3600),
    ]


@pytest.fixture
def queue(valkey_url: str, settings: Settings) -> Any:
    settings.QUEUE_URLS = [valkey_url]
    client: Any = get_client(valkey_url)
    client.flushall()
    return client


def mend(source: Source) -> None:
    Secret.objects.create(source=source, value=OTHER_SECRET)


def count(state: State) -> int:
    return RefusedRequest.objects.filter(state=state).count()


def get_messages(response: Any) -> str:
    return "\n".join(str(message) for message in response.context["messages"])


# --- Reading --------------------------------------------------------------------------------------


def test_it_counts_by_reason_and_source(client: Client, refused: list[RefusedRequest]) -> None:
    html = text_of(client.get("/refused/"))

    assert re.search(r'__count">2</strong>\s*<span[^>]*>Signature does not match', html)
    assert re.search(r'__count">1</strong>\s*<span[^>]*>Timestamp too old', html)
    assert "The signature does not match the active secret." in html


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("code=bad_signature", {0, 1}),
        ("code=stale_timestamp&period=15m", {2}),
        ("source=nobody", set()),
        ("state=accepted", set()),
        ("state=", {0, 1, 2}),
    ],
)
def test_it_is_filtered(
    client: Client, refused: list[RefusedRequest], query: str, shown: set[int]
) -> None:
    html = text_of(client.get(f"/refused/?{query}"))

    assert {number for number, row in enumerate(refused) if row.public_id in html} == shown


def test_an_empty_page_says_what_will_appear(client: Client, helpdesk: Source) -> None:
    assert "Nothing was refused" in text_of(client.get("/refused/"))
    assert "Nothing fits this filter" in text_of(client.get("/refused/?code=not_json"))


def test_the_page_of_one_says_why_and_what_to_do(
    client: Client, refused: list[RefusedRequest]
) -> None:
    html = text_of(client.get(f"/refused/{refused[0].public_id}/"))

    assert "Signature does not match" in html
    assert "the secret differs" in html
    assert "192.0.2.7" in html
    assert "&quot;text&quot;: &quot;one&quot;" in html
    assert "POST /hooks/helpdesk?token=…" in html
    assert "in-the-address" not in html


def test_a_credential_is_only_begun(client: Client, helpdesk: Source) -> None:
    hidden = "0123456789abcdef0123456789"
    row = make_refused(helpdesk, secret=OTHER_SECRET, header_authorization=f"Bearer {hidden}")

    html = text_of(client.get(f"/refused/{row.public_id}/"))

    assert "Bearer… (33 characters)" in html
    assert hidden[:8] not in html


def test_markup_in_a_body_stays_text(client: Client, helpdesk: Source) -> None:
    row = make_refused(helpdesk, "<script>alert(1)</script>", secret=OTHER_SECRET)

    assert "<script>alert" not in text_of(client.get(f"/refused/{row.public_id}/"))


def test_vera_reads_the_reason_but_not_what_was_never_verified(
    sign_in: Browse, vera: User, refused: list[RefusedRequest]
) -> None:
    client = sign_in(vera)

    html = text_of(client.get(f"/refused/{refused[0].public_id}/"))

    assert "Signature does not match" in html
    assert "Your role does not show" in html
    assert "&quot;one&quot;" not in html
    assert "192.0.2.7" in html
    for path in ("/refused/", f"/refused/{refused[0].public_id}/"):
        html = text_of(client.get(path))
        assert "/accept/" not in html
        assert "/discard/" not in html


@pytest.mark.parametrize("path", ["/refused/ref_1/", f"/refused/ref_{'0' * 32}/", "/refused/x/"])
def test_one_that_is_gone_leads_to_the_list(client: Client, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert "All refused requests" in response.content.decode()


def test_a_lost_key_is_told_on_the_page(
    client: Client, refused: list[RefusedRequest], settings: Settings
) -> None:
    settings.VAULT_KEYS = [base64.urlsafe_b64encode(b"z" * 32).decode()]

    assert "VAULT_KEYS lacks the key" in text_of(client.get(f"/refused/{refused[0].public_id}/"))


def test_source_and_side_bar_say_how_many(
    sign_in: Browse, alice: User, helpdesk: Source, refused: list[RefusedRequest]
) -> None:
    old = timezone.now() - timedelta(days=2)
    RefusedRequest.objects.filter(pk=refused[0].pk).update(last_received_at=old)

    html = text_of(sign_in(alice).get(f"/sources/source/{helpdesk.pk}/change/"))

    assert "2 refused in the last day" in html
    assert "/refused/?source=helpdesk" in html
    assert re.search(r'href="/refused/".*?>\s*3\s*<', html, re.DOTALL)


# --- Verifying and accepting ----------------------------------------------------------------------


def test_verify_again_tells_and_changes_nothing(
    client: Client, helpdesk: Source, refused: list[RefusedRequest]
) -> None:
    address = f"/refused/{refused[0].public_id}/?verify=1"
    assert "It would still be refused" in text_of(client.get(address))
    mend(helpdesk)

    assert "It would pass now" in text_of(client.get(address))

    assert count(State.KEPT) == 3


def test_one_is_accepted_and_leads_to_its_event(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], queue: Any, bob: User
) -> None:
    mend(helpdesk)

    response = client.post(f"/refused/{refused[0].public_id}/accept/", follow=True)

    row = RefusedRequest.objects.get(pk=refused[0].pk)
    assert f"It was accepted as {row.event_public_id}." in get_messages(response)
    assert f"/events/{row.event_public_id}/" in text_of(response)
    assert queue.xlen(STREAM) == 1
    audit = AuditEntry.objects.get()
    assert (audit.actor, audit.action) == (bob, "refused.accept")


def test_one_that_does_not_pass_says_why_and_stays(
    client: Client, refused: list[RefusedRequest], queue: Any
) -> None:
    response = client.post(f"/refused/{refused[0].public_id}/accept/", follow=True)

    assert "Still refused: The signature does not match" in get_messages(response)
    assert (count(State.KEPT), queue.exists(STREAM)) == (3, 0)


def test_a_queue_that_is_down_changes_nothing(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], settings: Settings
) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1"]
    mend(helpdesk)

    response = client.post(f"/refused/{refused[0].public_id}/accept/", follow=True)

    assert "Nothing has changed" in get_messages(response)
    assert count(State.KEPT) == 3


def test_many_are_asked_for_first_with_the_number_that_passes(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], queue: Any
) -> None:
    mend(helpdesk)

    html = text_of(client.post("/refused/accept/", {"all": "1", "state": "kept"}))

    assert "2 of 3 would pass now" in html
    assert "Timestamp too old" in html
    assert (count(State.KEPT), queue.exists(STREAM)) == (3, 0)

    form = get_fields(html) | {"confirmed": "1"}
    response = client.post("/refused/accept/", form, follow=True)
    assert "2 accepted." in get_messages(response)
    assert "1 still refused: 1 Timestamp too old." in get_messages(response)
    assert (count(State.KEPT), count(State.ACCEPTED), queue.xlen(STREAM)) == (1, 2, 2)


def test_selected_ones_are_meant_and_no_other(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], queue: Any
) -> None:
    mend(helpdesk)
    html = text_of(client.post("/refused/accept/", {"request": [refused[1].public_id]}))
    assert "accept 1 request?" in html

    client.post("/refused/accept/", get_fields(html) | {"confirmed": "1"})

    states = [RefusedRequest.objects.get(pk=row.pk).state for row in refused]
    assert states == ["kept", "accepted", "kept"]


def test_many_are_done_in_batches_and_none_is_tried_twice(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], queue: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(refused_many, "BATCH", 1)
    mend(helpdesk)
    html = text_of(client.post("/refused/accept/", {"all": "1", "state": "kept"}))
    for done in (1, 2):
        html = text_of(client.post("/refused/accept/", get_fields(html) | {"confirmed": "1"}))
        assert f"{done} done, {3 - done} to go" in html

    response = client.post("/refused/accept/", get_fields(html), follow=True)

    assert "2 accepted." in get_messages(response)
    assert "1 still refused" in get_messages(response)


def test_what_comes_after_the_question_is_not_meant(
    client: Client, helpdesk: Source, refused: list[RefusedRequest], queue: Any
) -> None:
    html = text_of(client.post("/refused/discard/", {"all": "1", "state": "kept"}))
    make_refused(helpdesk, "afterwards", secret=OTHER_SECRET)

    client.post("/refused/discard/", get_fields(html) | {"confirmed": "1"})

    assert (count(State.DISCARDED), count(State.KEPT)) == (3, 1)


def test_one_is_discarded_with_its_content(client: Client, refused: list[RefusedRequest]) -> None:
    client.post(f"/refused/{refused[0].public_id}/discard/")

    row = RefusedRequest.objects.get(pk=refused[0].pk)
    assert (row.state, row.content) == ("discarded", None)
    html = text_of(client.get(f"/refused/{row.public_id}/"))
    assert "deleted when it was discarded" in html
    assert AuditEntry.objects.get().action == "refused.discard"


@pytest.mark.parametrize("verb", ["accept", "discard"])
def test_vera_may_do_neither(
    sign_in: Browse, vera: User, refused: list[RefusedRequest], verb: str
) -> None:
    client = sign_in(vera)

    assert client.post(f"/refused/{refused[0].public_id}/{verb}/").status_code == 403
    assert client.post(f"/refused/{verb}/", {"all": "1", "confirmed": "1"}).status_code == 403
    assert count(State.KEPT) == 3


def test_charlie_sees_nothing(sign_in: Browse, charlie: User, helpdesk: Source) -> None:
    assert sign_in(charlie).get("/refused/").status_code in (302, 403)
