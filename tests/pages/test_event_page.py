"""The page of one event tells its whole story, as text."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.events.models import Attempt, Event, Status, Step
from apps.llm.models import LLMCall
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


def add_call(event: Event, state: str, answer: str = "") -> LLMCall:
    now = timezone.now()
    return LLMCall.objects.create(
        event=event,
        request_hash="0" * 64,
        state=state,
        model="test-model",
        request={"messages": [{"role": "user", "content": f"Classify: {EVIL}"}], "seed": 1},
        answer=answer,
        cost_usd=Decimal("0.0042"),
        intended_at=now,
        answered_at=now if state == "answered" else None,
    )


def add_attempt(event: Event, number: int, outcome: str, starts_s: float) -> None:
    at = event.received_at + timedelta(seconds=starts_s)
    Attempt.objects.create(
        event=event,
        run=1,
        step="deliver",
        number=number,
        outcome=outcome,
        started_at=at,
        finished_at=at + timedelta(seconds=0.5),
        error="The destination answered 500.",
    )


def test_it_shows_payload_prompt_answer_and_cost_and_runs_none_of_it(
    client: Client, helpdesk: Source
) -> None:
    raw = ('{"text": "' + EVIL + '"}').encode()
    event = make_event(helpdesk, raw, status=Status.DELIVERED, answer={"category": EVIL})
    add_call(event, "answered", f"raw answer {EVIL}")

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert "Classify:" in html
    assert "raw answer" in html
    assert "$0.004200" in html


def test_the_timeline_tells_how_long_each_retry_waited(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD, step="deliver")
    add_attempt(event, 1, "failed", 1)
    add_attempt(event, 2, "permanent", 3.5)

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "2.0 s later" in html
    assert "took 500 ms" in html
    assert html.index("Deliver, attempt 1") < html.index("Deliver, attempt 2")


def test_an_event_that_waits_for_a_limit_says_until_when(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    until = timezone.now() + timedelta(minutes=3)
    assert event.note_failure(Step.LLM, "llm_limit_reached", "It waits for its turn.", until)
    html = text_of(client.get(f"/events/{event.public_id}/"))
    facts = html.split("Waits until")[1].split("</div>")[0]
    assert until.strftime("%H:%M:%S") in facts
    assert "It waits for its turn." in html
    event.deliver()
    assert "Waits until" not in text_of(client.get(f"/events/{event.public_id}/"))


def test_a_held_event_says_what_a_retry_may_cost(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.HELD, step="llm", error_code="call_outcome_unknown")
    add_call(event, "unknown")

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "nobody can know whether" in html
    assert "paid a second time" in html


def test_a_dead_letter_with_an_answer_says_that_a_retry_pays_nothing(
    client: Client, helpdesk: Source
) -> None:
    event = make_event(helpdesk, status=Status.DEAD, step="deliver")
    add_call(event, "answered", "{}")

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "the model is not called and nothing is" in html


def test_a_finished_event_has_no_buttons_and_says_why(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DELIVERED)

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "there is nothing left to do" in html
    assert "/retry/" not in html


def test_an_unknown_event_leads_to_the_list(client: Client, db: None) -> None:
    for public_id in ("evt_" + "0" * 32, "evt_nope", "%3Cscript%3E"):
        response = client.get(f"/events/{public_id}/")
        assert response.status_code == 404
        assert 'href="/events/"' in response.content.decode()
        assert "<script>" not in response.content.decode().replace("<script src", "")


def test_somebody_who_was_too_late_is_told(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DELIVERED)

    html = text_of(client.post(f"/events/{event.public_id}/retry/", follow=True))

    assert "neither dead nor held any more" in html


def test_the_payload_is_a_download_and_never_a_page(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, f"<html>{EVIL}".encode())

    response = client.get(f"/events/{event.public_id}/payload/")

    assert response.content == f"<html>{EVIL}".encode()
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")


def test_bytes_that_are_no_text_are_shown_all_the_same(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, b"\xff\xfe\x00 binary")

    assert "binary" in text_of(client.get(f"/events/{event.public_id}/"))


def test_half_a_character_in_a_payload_breaks_no_page(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, b'{"text": "cut off \\ud83d", "\\udc00": "\\u0000"}')

    html = text_of(client.get(f"/events/{event.public_id}/"))

    assert "cut off \\ud83d" in html
