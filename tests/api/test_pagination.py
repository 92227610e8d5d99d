"""Pages by cursor: nothing twice, nothing lost, in both directions."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.events.models import Event
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event

EVENTS = "/api/v1/events/"


@pytest.fixture
def client(vera: User) -> APIClient:
    return with_token(vera)


@pytest.fixture
def newest_first(helpdesk: Source) -> list[str]:
    """Seven events, of which some came in the same microsecond."""
    events = [make_event(helpdesk) for _ in range(7)]
    Event.objects.filter(pk__in=[event.pk for event in events[2:6]]).update(
        received_at=timezone.now()
    )
    ordered = Event.objects.order_by("-received_at", "-id")
    return [event.public_id for event in ordered]


def get_page(client: APIClient, url: str) -> dict[str, Any]:
    answer = client.get(url)
    assert answer.status_code == 200, answer.content
    page: dict[str, Any] = answer.json()
    assert set(page) == {"results", "next", "previous"}
    return page | {"ids": [row["id"] for row in page["results"]]}


def test_following_next_gives_every_event_once(client: APIClient, newest_first: list[str]) -> None:
    page = get_page(client, f"{EVENTS}?page_size=2")
    assert page["previous"] is None
    seen = page["ids"]
    while page["next"] and len(seen) < 20:
        page = get_page(client, page["next"])
        seen += page["ids"]
    assert seen == newest_first


def test_following_previous_leads_back(client: APIClient, newest_first: list[str]) -> None:
    first = get_page(client, f"{EVENTS}?page_size=3")
    second = get_page(client, first["next"])
    back = get_page(client, second["previous"])
    assert back["ids"] == first["ids"]
    assert back["previous"] is None
    assert get_page(client, back["next"])["ids"] == second["ids"]


def test_what_arrives_meanwhile_shifts_no_page(
    client: APIClient, newest_first: list[str], helpdesk: Source
) -> None:
    first = get_page(client, f"{EVENTS}?page_size=3")
    make_event(helpdesk)
    assert get_page(client, first["next"])["ids"] == newest_first[3:6]


def test_the_filter_goes_along_with_the_cursor(client: APIClient, newest_first: list[str]) -> None:
    page = get_page(client, f"{EVENTS}?page_size=1&status=queued")
    assert "status=queued" in page["next"]


@pytest.mark.parametrize("size", ["0", "-1", "x", "", "1.5", "٣"])
def test_a_wrong_page_size_is_refused(client: APIClient, size: str) -> None:
    problem = assert_problem(client.get(EVENTS, {"page_size": size}), 400)
    assert list(problem["errors"]) == ["page_size"]


def test_a_page_has_at_most_200_rows(client: APIClient, helpdesk: Source) -> None:
    version = helpdesk.pipeline.current_version
    assert version is not None
    Event.objects.bulk_create(
        Event(
            source=helpdesk,
            pipeline_version=version,
            idempotency_key=str(number),
            received_at=timezone.now(),
        )
        for number in range(201)
    )
    assert len(get_page(client, f"{EVENTS}?page_size=1000")["results"]) == 200


def encode(parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "é",
        encode([0, "2026-01-01T00:00:00+00:00", "7"]),
        encode([0, "2026-01-01T00:00:00", "0" * 32]),
        encode([2, "2026-01-01T00:00:00+00:00", "0" * 32]),
        encode([0, 5, "7"]),
        encode([0, "2026-13-41T00:00:00+00:00", "0" * 32]),
        encode([[], "2026-01-01T00:00:00+00:00", {}]),
        encode({"a": 1}),
        encode(5),
    ],
)
def test_a_made_up_cursor_is_refused(client: APIClient, cursor: str) -> None:
    problem = assert_problem(client.get(EVENTS, {"cursor": cursor}), 400)
    assert list(problem["errors"]) == ["cursor"]
