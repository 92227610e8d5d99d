"""Tokens: what they open, how they end, and that nobody reads one back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import ApiToken, User
from apps.events.models import Status
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event


def ask(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=text)
    return client


def test_without_a_token_the_answer_says_how_to_bring_one(db: None) -> None:
    response = APIClient().get("/api/v1/events/")
    assert_problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("text", ["Bearer pat_made-up", "Bearer", "Bearer ", "bearer \u00e4"])
def test_a_wrong_token_is_refused(db: None, text: str) -> None:
    response = ask(text).get("/api/v1/events/")
    assert_problem(response, 401, "unknown, expired or revoked")
    assert response["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_refused(alice: User) -> None:
    _, text = ApiToken.issue(alice, "old", ["all"], timedelta(seconds=-1))
    assert_problem(ask(f"Bearer {text}").get("/api/v1/events/"), 401)


def test_a_revoked_token_is_refused(alice: User) -> None:
    token, text = ApiToken.issue(alice, "old", ["all"])
    token.revoke()
    assert_problem(ask(f"Bearer {text}").get("/api/v1/events/"), 401)


def test_the_token_of_a_user_who_is_switched_off_is_refused(alice: User) -> None:
    client = with_token(alice)
    alice.is_active = False
    alice.save()
    assert_problem(client.get("/api/v1/events/"), 401)


def test_a_use_is_noted(alice: User) -> None:
    with_token(alice).get("/api/v1/events/")
    assert alice.api_tokens.get().last_used_at is not None


@pytest.mark.parametrize(
    ("scope", "method", "path", "missing"),
    [
        ("events:read", "post", "events/{event}/retry/", "events:write"),
        ("events:write", "get", "events/", "events:read"),
        ("events:write", "get", "stats/", "events:read"),
        ("config:read", "post", "sources/", "config:write"),
        ("config:read", "post", "secrets/", "config:write"),
        ("config:write", "get", "pipelines/", "config:read"),
        ("events:read", "get", "destinations/", "config:read"),
        ("config:write", "post", "tokens/", "all"),
        ("config:read", "get", "audit/", "all"),
    ],
)
def test_a_token_does_only_what_its_scopes_say(
    alice: User, helpdesk: Source, scope: str, method: str, path: str, missing: str
) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    path = "/api/v1/" + path.format(event=event.public_id)
    response = getattr(with_token(alice, scope), method)(path)
    assert_problem(response, 403, f"The token lacks the scope “{missing}”.")


def test_a_scope_gives_nothing_that_the_role_lacks(vera: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    response = with_token(vera, "all").post(f"/api/v1/events/{event.public_id}/retry/")
    assert_problem(response, 403, "events.retry_event")


def test_a_new_token_is_shown_once_and_works(alice: User) -> None:
    client = with_token(alice)
    asked = {"name": "report", "scopes": ["events:read"], "days": 30}
    made = client.post("/api/v1/tokens/", asked)
    assert made.status_code == 201
    text = made.json()["token"]
    assert ask(f"Bearer {text}").get("/api/v1/events/").status_code == 200
    assert text not in client.get("/api/v1/tokens/").content.decode()
    assert text not in client.get("/api/v1/audit/").content.decode()


def test_a_token_can_be_made_for_somebody_else(alice: User, vera: User) -> None:
    asked = {"name": "wall", "scopes": ["events:read"], "user": "vera"}
    made = with_token(alice).post("/api/v1/tokens/", asked)
    assert made.json()["user"] == "vera"
    assert vera.api_tokens.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes.0"),
        ({"name": "", "scopes": ["all"]}, "name"),
        ({"name": "x", "scopes": ["all"], "days": 0}, "days"),
        ({"name": "x", "scopes": ["all"], "user": "nobody"}, "user"),
        ({"name": "x", "scopes": ["all"], "dayz": 3}, "dayz"),
    ],
)
def test_a_wrong_token_request_names_the_field(
    alice: User, body: dict[str, object], field: str
) -> None:
    problem = assert_problem(with_token(alice).post("/api/v1/tokens/", body), 400)
    assert list(problem["errors"]) == [field]


def test_revoking_ends_a_token_at_once_and_only_once(alice: User, vera: User) -> None:
    client, other = with_token(alice), with_token(vera)
    path = f"/api/v1/tokens/{vera.api_tokens.get().pk}/revoke/"
    assert client.post(path).json()["revoked_at"] is not None
    assert_problem(other.get("/api/v1/events/"), 401)
    assert_problem(client.post(path), 409, "revoked before")
