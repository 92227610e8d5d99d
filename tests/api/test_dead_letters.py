"""Dead letters in the API: many at once, bounded, each counted."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events import api
from apps.events.models import Event, Status
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event

DEAD = "/api/v1/dead-letters/"


@pytest.fixture
def shop(helpdesk: Source) -> Source:
    return Source.objects.create(
        slug="shop", name="Shop", scheme="github", pipeline=helpdesk.pipeline
    )


def test_only_dead_letters_are_listed(vera: User, helpdesk: Source) -> None:
    for status in Status.values:
        make_event(helpdesk, status=status)
    results = with_token(vera).get(DEAD).json()["results"]
    assert [row["status"] for row in results] == ["dead"]


def test_all_are_retried_by_an_empty_filter(bob: User, helpdesk: Source, shop: Source) -> None:
    for source in (helpdesk, shop):
        make_event(source, status=Status.DEAD)
    answer = with_token(bob).post(f"{DEAD}retry/", {})
    assert answer.status_code == 202
    assert answer.json() == {"done": 2, "skipped": 0, "remaining": 0}
    assert set(Event.objects.values_list("status", "run")) == {("queued", 2)}
    assert AuditEntry.objects.filter(action="event.retry").count() == 2


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_no_body_is_no_empty_filter(bob: User, helpdesk: Source, verb: str) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    assert_problem(with_token(bob).post(f"{DEAD}{verb}/"), 400)
    assert_status(event, "dead")


def test_those_of_a_source_an_error_or_a_list_are_taken_and_no_other(
    bob: User, helpdesk: Source, shop: Source
) -> None:
    first = make_event(helpdesk, status=Status.DEAD, error_code="http_500")
    second = make_event(helpdesk, status=Status.DEAD, error_code="timeout")
    third = make_event(shop, status=Status.DEAD, error_code="http_500")
    client = with_token(bob)
    client.post(f"{DEAD}discard/", {"source": "helpdesk", "error_code": "http_500"})
    assert_status(first, "discarded")
    assert_status(second, "dead")
    client.post(f"{DEAD}retry/", {"ids": [second.public_id]})
    assert_status(second, "queued")
    assert_status(third, "dead")


def assert_status(event: Event, status: str) -> None:
    event.refresh_from_db()
    assert event.status == status


def test_what_is_not_dead_is_not_touched_even_when_it_is_named(bob: User, helpdesk: Source) -> None:
    held = make_event(helpdesk, status=Status.HELD)
    answer = with_token(bob).post(f"{DEAD}retry/", {"ids": [held.public_id]})
    assert answer.json() == {"done": 0, "skipped": 0, "remaining": 0}
    assert_status(held, "held")


def test_a_request_takes_a_bounded_number_and_says_how_many_remain(
    bob: User, helpdesk: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MAX_RECOVERED", 2)
    oldest = make_event(helpdesk, status=Status.DEAD)
    for _ in range(2):
        make_event(helpdesk, status=Status.DEAD)
    answer = with_token(bob).post(f"{DEAD}discard/", {})
    assert answer.json() == {"done": 2, "skipped": 0, "remaining": 1}
    assert_status(oldest, "discarded")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"sourc": "helpdesk"}, "sourc"),
        ({"ids": ["evt_1"]}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": "evt_1"}, "ids"),
        ([], "body"),
    ],
)
def test_a_mistyped_filter_touches_nothing(
    bob: User, helpdesk: Source, body: Any, field: str
) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    problem = assert_problem(with_token(bob).post(f"{DEAD}discard/", body), 400)
    assert list(problem["errors"]) == [field]
    assert_status(event, "dead")


def test_what_is_in_quarantine_is_listed_and_released_and_nothing_else(
    bob: User, helpdesk: Source
) -> None:
    kept_back = make_event(helpdesk, status=Status.HELD, error_code="quarantined")
    unsure = make_event(helpdesk, status=Status.HELD, error_code="call_outcome_unknown")
    dead = make_event(helpdesk, status=Status.DEAD)
    client, wanted = with_token(bob), {"status": "held", "error_code": "quarantined"}
    assert [row["id"] for row in client.get(DEAD, wanted).json()["results"]] == [
        kept_back.public_id
    ]
    answer = client.post(f"{DEAD}retry/", wanted)
    assert answer.json() == {"done": 1, "skipped": 0, "remaining": 0}
    states = dict(Event.objects.values_list("pk", "status"))
    assert states == {kept_back.pk: "queued", unsure.pk: "held", dead.pk: "dead"}
    assert_problem(client.post(f"{DEAD}discard/", {"status": "delivered"}), 400)
