"""Another body under an event's id is shown beside the first, as text, and can become an event."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.events.differences import compare
from apps.events.ids import get_public_id, new_event_id
from apps.events.models import Event, EventAlias, Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.conflicts import make_conflict
from tests.pages.conftest import Browse, text_of

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


def test_the_page_shows_what_differs_and_runs_none_of_it(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, b'{"order": 7, "total": 10}')
    make_conflict(event, ('{"order": 7, "total": "' + EVIL + '"}').encode())

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "The sender sent another body under the same id" in html
    assert '<del class="pa-diff pa-diff--removed">-  &quot;total&quot;: 10' in html
    assert "+  &quot;total&quot;: &quot;&lt;script&gt;" in html
    assert EVIL not in html


def test_the_list_marks_it_and_finds_it(client: Client, helpdesk: Source) -> None:
    torn, plain = make_event(helpdesk), make_event(helpdesk)
    make_conflict(torn)

    html = text_of(client.get("/events/"))
    assert html.count("another body came") == 1
    found = text_of(client.get("/events/?conflicts=1"))
    assert torn.public_id in found
    assert plain.public_id not in found


def test_a_body_becomes_an_event_of_its_own_and_only_once(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    conflict = make_conflict(event)
    path = f"/events/{event.public_id}/conflicts/process/"

    html = text_of(client.post(path, {"conflict": conflict.public_id}, follow=True))

    assert "1 body is an event of its own now." in html
    assert "Go to its event" in html
    assert "Make it an event of its own" not in html
    assert text_of(client.get(f"/events/{conflict.public_id}/"))
    again = text_of(client.post(path, {"conflict": conflict.public_id}, follow=True))
    assert "events of their own already" in again
    assert Event.objects.count() == 2


def test_all_bodies_become_events_by_one_button(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    for number in range(3):
        make_conflict(event, b"%d" % number)
    assert "Make events of all 3" in text_of(client.get(f"/events/{event.public_id}/"))

    client.post(f"/events/{event.public_id}/conflicts/process/")

    assert Event.objects.filter(status=Status.QUEUED).count() == 4


def test_who_only_views_gets_no_button(sign_in: Browse, vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    make_conflict(event)
    client = sign_in(vera)

    assert "conflicts/process" not in text_of(client.get(f"/events/{event.public_id}/"))
    assert client.post(f"/events/{event.public_id}/conflicts/process/").status_code == 403


def test_the_other_body_is_a_download_and_never_a_page(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    conflict = make_conflict(event, EVIL.encode())

    path = f"/events/{event.public_id}/conflicts/{conflict.public_id}/payload/"
    response = client.get(path)

    assert response.content == EVIL.encode()
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert client.get(path.replace(conflict.public_id, "evt_nope")).status_code == 404


def test_another_id_of_the_event_leads_to_its_page(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    alias = EventAlias.objects.create(id=new_event_id(), event=event, received_at=timezone.now())

    response = client.get(f"/events/{get_public_id(alias.pk)}/")

    assert (response.status_code, response.headers["Location"]) == (
        302,
        f"/events/{event.public_id}/",
    )


def test_a_quarantined_event_says_why_and_what_a_release_does(
    client: Client, helpdesk: Source
) -> None:
    event = make_event(
        helpdesk,
        status=Status.HELD,
        step="queue",
        error_code="quarantined",
        error="total is missing.",
    )

    html = text_of(client.get(f"/events/{event.public_id}/"))
    assert "kept it back, before anything ran: total is missing." in html
    assert "It is released as it is" in html
    held = text_of(client.get("/dead-letters/?status=held"))
    assert "quarantined" in held

    client.post(f"/events/{event.public_id}/retry/")
    event.refresh_from_db()
    assert (event.status, event.run, event.error) == ("queued", 2, "")


# --- The comparison ----------------------------------------------------------------------------


def test_one_changed_value_of_json_is_one_changed_line() -> None:
    first = b'{"a": 1, "b": [1, 2, 3], "c": "x"}'
    lines = compare(first, first.replace(b'"x"', b'"y"')).lines
    changed = [(line.kind, line.text) for line in lines if line.kind in ("added", "removed")]
    assert changed == [("removed", '-  "c": "x"'), ("added", '+  "c": "y"')]


def test_what_differs_in_spaces_alone_is_shown_side_by_side() -> None:
    comparison = compare(b'{"a": 1}', b'{"a":1}')
    assert (comparison.lines, comparison.first, comparison.other) == ([], '{"a": 1}', '{"a":1}')


@pytest.mark.parametrize("other", [b"\xff\x00 binary", b"x" * 200_000, b"\n" * 5000])
def test_what_is_no_text_or_too_long_is_cut_and_shown_all_the_same(other: bytes) -> None:
    comparison = compare(b'{"a": 1}', other)
    assert len(comparison.other) <= 5001
    assert comparison.lines or comparison.other
