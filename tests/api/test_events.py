"""Events in the API: found, shown with their attempts, retried and discarded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Attempt, Event, Status, Step
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event

EVENTS = "/api/v1/events/"


def add_attempt(event: Event, **fields: Any) -> Attempt:
    given: dict[str, Any] = {"run": 1, "step": Step.LLM, "number": 1, "outcome": "ok"}
    return Attempt.objects.create(event=event, started_at=timezone.now(), **given | fields)


def find(user: User, **query: Any) -> list[str]:
    """Idempotency keys of what is found."""
    answer = with_token(user).get(EVENTS, query)
    assert answer.status_code == 200, answer.content
    return [row["idempotency_key"] for row in answer.json()["results"]]


def test_an_event_shows_what_scripts_rely_on(vera: User, helpdesk: Source) -> None:
    event = make_event(
        helpdesk,
        status=Status.DELIVERED,
        event_type="ticket",
        idempotency_key="T-1",
        answer={"category": "billing"},
        cost_usd="0.000123",
    )
    row = with_token(vera).get(EVENTS).json()["results"][0]
    expected = {
        "id": event.public_id,
        "source": "helpdesk",
        "pipeline": "triage",
        "pipeline_version": 1,
        "status": "delivered",
        "event_type": "ticket",
        "idempotency_key": "T-1",
        "answer": {"category": "billing"},
        "error": "",
        "attempts": [],
        "cost_usd": 0.000123,
    }
    assert expected.items() <= row.items()
    assert row["received_at"].endswith("Z")
    assert row["finished_at"].endswith("Z")


def test_an_attempt_shows_how_it_ended(vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    add_attempt(event, outcome="failed", error_code="http_500", error="500", http_status=500)
    shown = with_token(vera).get(f"{EVENTS}{event.public_id}/").json()["attempts"][0]
    assert set(shown) == {
        *("run", "step", "number", "outcome", "started_at", "finished_at"),
        *("error_code", "error", "http_status", "cost_usd", "route"),
    }
    assert (shown["step"], shown["outcome"], shown["http_status"]) == ("llm", "failed", 500)
    assert shown["cost_usd"] == 0


def test_one_event_shows_its_body(vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, b'{"text": "\xc3\xa4"}')
    assert with_token(vera).get(f"{EVENTS}{event.public_id}/").json()["body"] == '{"text": "ä"}'


def test_an_event_whose_body_was_cleaned_up_has_none(vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    event.body.delete()
    assert with_token(vera).get(f"{EVENTS}{event.public_id}/").json()["body"] is None


def test_the_list_costs_the_same_queries_for_one_event_and_for_many(
    vera: User, helpdesk: Source
) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(EVENTS).status_code == 200
        return len(queries)

    client = with_token(vera)
    add_attempt(make_event(helpdesk))
    client.get(EVENTS)  # notes the token's use, once a minute
    few = count_queries()
    for _ in range(10):
        add_attempt(make_event(helpdesk))
    assert count_queries() == few


def test_events_are_found_by_source_status_type_and_text(vera: User, helpdesk: Source) -> None:
    other = Source.objects.create(
        slug="shop", name="Shop", scheme="github", pipeline=helpdesk.pipeline
    )
    make_event(helpdesk, b'{"text": "Refund please"}', idempotency_key="a")
    make_event(helpdesk, status=Status.DEAD, event_type="ticket.closed", idempotency_key="b")
    make_event(other, idempotency_key="c")
    assert find(vera, source="shop") == ["c"]
    assert find(vera, source="nowhere") == []
    assert find(vera, status="dead") == ["b"]
    assert find(vera, event_type="ticket.closed") == ["b"]
    assert find(vera, q="refund") == ["a"]
    assert find(vera, q="refund", status="dead") == []
    assert find(vera, q=Event.objects.get(idempotency_key="c").public_id) == ["c"]


def test_since_is_included_and_until_is_not(vera: User, helpdesk: Source) -> None:
    moment = timezone.now()
    for minutes in (-1, 0, 1):
        event = make_event(helpdesk, idempotency_key=str(minutes))
        Event.objects.filter(pk=event.pk).update(received_at=moment + timedelta(minutes=minutes))
    assert find(vera, since=moment.isoformat()) == ["1", "0"]
    assert find(vera, until=moment.isoformat()) == ["-1"]


@pytest.mark.parametrize(
    "query",
    [{"status": "lost"}, {"since": "yesterday"}, {"source": "a b"}, {"q": "a\x00"}],
)
def test_a_wrong_filter_is_named(vera: User, query: dict[str, str]) -> None:
    problem = assert_problem(with_token(vera).get(EVENTS, query), 400)
    assert list(problem["errors"]) == list(query)


@pytest.mark.parametrize("name", ["evt_1", "1", "evt_" + "0" * 32, "evt_" + "g" * 32])
def test_an_event_that_is_not_there_is_not_found(vera: User, name: str) -> None:
    assert_problem(with_token(vera).get(f"{EVENTS}{name}/"), 404)


@pytest.mark.parametrize("status", [Status.DEAD, Status.HELD])
def test_a_retry_queues_a_new_run_and_is_audited(
    bob: User, helpdesk: Source, status: Status
) -> None:
    event = make_event(helpdesk, status=status, error="the destination answered 500")
    answer = with_token(bob).post(f"{EVENTS}{event.public_id}/retry/")
    assert answer.status_code == 202
    shown = answer.json()
    assert (shown["status"], shown["run"], shown["error"]) == ("queued", 2, "")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action) == (bob, "event.retry")
    assert entry.object_id == event.public_id


def test_a_discard_ends_the_event_and_is_audited(bob: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.HELD)
    answer = with_token(bob).post(f"{EVENTS}{event.public_id}/discard/")
    assert answer.status_code == 200
    assert answer.json()["status"] == "discarded"
    assert AuditEntry.objects.get().action == "event.discard"


@pytest.mark.parametrize("verb", ["retry", "discard"])
@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.DELIVERED])
def test_what_neither_failed_nor_waits_is_left_alone(
    bob: User, helpdesk: Source, verb: str, status: Status
) -> None:
    event = make_event(helpdesk, status=status)
    answer = with_token(bob).post(f"{EVENTS}{event.public_id}/{verb}/")
    assert_problem(answer, 409, f"The event is {status}")
    event.refresh_from_db()
    assert (event.status, event.run) == (status, 1)
    assert not AuditEntry.objects.exists()
