"""Finding events: by text, by filter, page by page."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import User
from apps.events import search
from apps.events.models import Event, Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of


@pytest.fixture
def client(sign_in: Browse, vera: User) -> Client:
    return sign_in(vera)


def get_ids(client: Client, query: str) -> list[str]:
    """The ids of the rows, in order."""
    return re.findall(r'<tr id="(evt_[0-9a-f]{32})"', text_of(client.get(f"/events/{query}")))


def test_it_finds_by_key_type_and_content(client: Client, helpdesk: Source) -> None:
    wanted = make_event(
        helpdesk, b'{"text": "Wo ist meine Karte?"}', event_type="card.lost", idempotency_key="m-77"
    )
    make_event(helpdesk)

    for q in ("M-77", "card.lost", "meine karte", wanted.public_id, wanted.public_id[:22]):
        assert get_ids(client, f"?q={q}") == [wanted.public_id], q


def test_it_filters_by_status_source_and_time(client: Client, helpdesk: Source) -> None:
    dead = make_event(helpdesk, status=Status.DEAD)
    old = make_event(helpdesk, status=Status.DEAD)
    Event.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(hours=2))
    make_event(helpdesk)

    assert get_ids(client, "?status=dead&period=1h") == [dead.public_id]
    assert get_ids(client, "?status=dead&source=helpdesk") == [dead.public_id, old.public_id]
    assert get_ids(client, "?source=elsewhere") == []


def test_pages_follow_each_other_without_gap_or_repetition(
    client: Client, helpdesk: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_time = timezone.now()
    ids = [make_event(helpdesk).public_id for _ in range(120)]
    Event.objects.update(received_at=same_time)

    seen: list[str] = []
    query = ""
    while query is not None and len(seen) < 200:
        html = text_of(client.get(f"/events/{query}"))
        seen += re.findall(r'<tr id="(evt_[0-9a-f]{32})"', html)
        older = re.search(r'href="(\?older=[^"]+)"', html)
        if not older:
            break
        query = older[1]

    assert sorted(seen) == sorted(ids)
    newer = re.search(r'href="(\?newer=[^"]+)"', html)
    assert newer
    assert get_ids(client, newer[1]) == seen[50:100]


def test_it_never_counts_the_table(client: Client, helpdesk: Source) -> None:
    make_event(helpdesk)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get("/events/")

    counts = [each["sql"] for each in queries.captured_queries if "COUNT(" in each["sql"].upper()]
    assert not [sql for sql in counts if "events_event" in sql]  # the side bar's are bounded


def test_a_text_search_says_how_far_back_it_went(
    client: Client, helpdesk: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "TEXT_SEARCH_ROWS", 2)
    oldest, *_ = [make_event(helpdesk, idempotency_key=f"needle-{n}") for n in range(4)]

    html = text_of(client.get("/events/?q=needle"))

    assert "back to" in html
    assert oldest.public_id not in html


def test_htmx_gets_the_table_alone(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)

    html = text_of(client.get("/events/", headers={"HX-Request": "true"}))

    assert event.public_id in html
    assert "<html" not in html


def test_a_wrong_cursor_shows_the_first_page(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)

    for cursor in ("x", "1-2", "99999999999999999999-00", ""):
        assert get_ids(client, f"?older={cursor}") == [event.public_id]
