"""Three things can be done about a call of unknown outcome: on the event's page and by the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.events.models import Event, Status
from apps.llm.models import LLMCall
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


@pytest.fixture
def held(helpdesk: Source) -> Event:
    event = make_event(
        helpdesk, status=Status.HELD, step="llm", error_code="llm_outcome_unknown", error="Lost."
    )
    LLMCall.objects.create(
        event=event,
        request_hash="1" * 64,
        state="unknown",
        model="test-model",
        request={"messages": []},
        intended_at=timezone.now(),
    )
    return event


def keep_answer(fake_llm: FakeLLM, event: Event) -> None:
    """What the provider keeps of the lost call."""
    body = {"model": "test-model"}
    mark = event.llm_calls.get().mark
    fake_llm.answers["kept"] = {"category": "x"}
    kept = fake_llm._complete(body | {"response_format": {"json_schema": {"schema": {}}}}, "kept")
    fake_llm.kept.append(kept | {"metadata": mark})


def test_the_page_offers_all_three_and_says_what_they_cost(
    client: Client, held: Event, settings: Any
) -> None:
    settings.LLM_STORE_COMPLETIONS = True
    html = text_of(client.get(f"/events/{held.public_id}/"))
    for words in ("Call again…", "Mark failed…", "Look it up at the provider", "paid a second"):
        assert words in html
    assert "Retry…" not in html


def test_where_nothing_is_kept_there_is_nothing_to_look_up(client: Client, held: Event) -> None:
    html = text_of(client.get(f"/events/{held.public_id}/"))
    assert "Mark failed…" in html
    assert "Look it up" not in html


def test_other_events_offer_neither(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD, step="llm", error_code="answer_empty")
    html = text_of(client.get(f"/events/{event.public_id}/"))
    assert "Retry…" in html
    assert "Mark failed" not in html


def test_a_reader_gets_no_button(sign_in: Browse, vera: User, held: Event) -> None:
    reader = sign_in(vera)
    assert "Mark failed" not in text_of(reader.get(f"/events/{held.public_id}/"))
    for action in ("fail", "look-up"):
        assert reader.post(f"/events/{held.public_id}/{action}/").status_code == 403
    held.refresh_from_db()
    assert held.status == Status.HELD


def test_marking_failed_on_the_page(client: Client, held: Event) -> None:
    html = text_of(client.post(f"/events/{held.public_id}/fail/", follow=True))
    assert "is marked as failed" in html
    html = text_of(client.post(f"/events/{held.public_id}/fail/", follow=True))
    assert "nothing was done" in html


def test_looking_up_on_the_page(
    client: Client, held: Event, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_STORE_COMPLETIONS = True
    html = text_of(client.post(f"/events/{held.public_id}/look-up/", follow=True))
    assert "stays held" in html
    keep_answer(fake_llm, held)
    html = text_of(client.post(f"/events/{held.public_id}/look-up/", follow=True))
    assert "nothing is paid again" in html
    held.refresh_from_db()
    assert held.status == Status.RUNNING


def test_the_same_by_the_api(
    bob: User, vera: User, held: Event, fake_llm: FakeLLM, settings: Any
) -> None:
    url = f"/api/v1/events/{held.public_id}"
    assert with_token(vera).post(f"{url}/fail/").status_code == 403
    assert "is off" in assert_problem(with_token(bob).post(f"{url}/look-up/"), 409)["detail"]
    settings.LLM_STORE_COMPLETIONS = True
    assert with_token(bob).post(f"{url}/look-up/").json() == {"found": False}
    keep_answer(fake_llm, held)
    assert with_token(bob).post(f"{url}/look-up/").json() == {"found": True}
    assert_problem(with_token(bob).post(f"{url}/look-up/"), 409)
    assert_problem(with_token(bob).post(f"{url}/fail/"), 409)


def test_failing_by_the_api(bob: User, held: Event) -> None:
    answer = with_token(bob).post(f"/api/v1/events/{held.public_id}/fail/")
    assert (answer.status_code, answer.json()["status"]) == (200, "dead")
