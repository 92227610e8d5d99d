"""Many dead letters at once: asked first, done in batches, told at the end."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events import dead_letter_pages
from apps.events.models import Event, Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


@pytest.fixture
def dead(helpdesk: Source) -> list[Event]:
    return [
        make_event(helpdesk, status=Status.DEAD, step="deliver", error_code=code)
        for code in ("http_500", "http_500", "answer_invalid")
    ]


def count(status: Status) -> int:
    return Event.objects.filter(status=status).count()


def get_fields(html: str) -> dict[str, list[str]]:
    """The hidden fields of the page's form, as a browser would send them."""
    form = html.split('class="pa-page"')[1].split("<form")[1].split("</form>")[0]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    return fields


def test_it_groups_by_cause_and_counts(client: Client, dead: list[Event]) -> None:
    html = text_of(client.get("/dead-letters/"))

    assert re.search(r"__count\">2</strong>\s*<span[^>]*><code>http_500", html)
    assert re.search(r"__count\">1</strong>\s*<span[^>]*><code>answer_invalid", html)


def test_held_events_have_a_tab_of_their_own(client: Client, helpdesk: Source) -> None:
    held = make_event(helpdesk, status=Status.HELD, step="llm")

    assert held.public_id not in text_of(client.get("/dead-letters/"))
    assert held.public_id in text_of(client.get("/dead-letters/?status=held"))


def test_retrying_selected_ones_asks_first(client: Client, dead: list[Event]) -> None:
    ids = [dead[0].public_id, dead[1].public_id]

    html = text_of(client.post("/dead-letters/retry/", {"event": ids}))

    assert "Retry 2 events?" in html
    assert "nothing is paid twice" in html
    assert count(Status.DEAD) == 3

    client.post("/dead-letters/retry/", get_fields(html) | {"confirmed": "1"})
    assert (count(Status.QUEUED), count(Status.DEAD)) == (2, 1)


def test_all_that_match_means_the_filter(client: Client, dead: list[Event]) -> None:
    form = {"all": "1", "status": "dead", "error_code": "http_500"}

    html = text_of(client.post("/dead-letters/discard/", form))

    assert "Discard 2 events?" in html
    client.post("/dead-letters/discard/", get_fields(html) | {"confirmed": "1"})
    assert (count(Status.DISCARDED), count(Status.DEAD)) == (2, 1)
    assert AuditEntry.objects.filter(action="event.discard").count() == 2


def test_many_are_done_in_batches_with_progress(
    client: Client, dead: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_pages, "BATCH", 2)
    html = text_of(client.post("/dead-letters/retry/", {"all": "1", "status": "dead"}))

    html = text_of(client.post("/dead-letters/retry/", get_fields(html) | {"confirmed": "1"}))

    assert "2 done, 1 to go" in html
    response = client.post("/dead-letters/retry/", get_fields(html), follow=True)
    assert "3 events are queued again" in response.content.decode()
    assert count(Status.DEAD) == 0


def test_one_that_dies_again_meanwhile_is_not_retried_twice(
    client: Client, dead: list[Event], helpdesk: Source
) -> None:
    html = text_of(client.post("/dead-letters/retry/", {"all": "1", "status": "dead"}))
    late = make_event(helpdesk, status=Status.DEAD)

    client.post("/dead-letters/retry/", get_fields(html) | {"confirmed": "1"})

    late.refresh_from_db()
    assert (late.status, late.run) == (Status.DEAD, 1)


def test_events_that_need_nobody_are_left_alone(client: Client, helpdesk: Source) -> None:
    delivered = make_event(helpdesk, status=Status.DELIVERED)

    response = client.post("/dead-letters/retry/", {"event": delivered.public_id}, follow=True)

    assert "nothing to do" in response.content.decode()
    delivered.refresh_from_db()
    assert delivered.status == Status.DELIVERED
