"""Who gets in, and what the others are told."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from tests.fixtures.cast import PASSWORD

pytestmark = pytest.mark.django_db


def post(client: Client, name: str, password: str) -> tuple[int, str]:
    response = client.post("/login/", {"username": name, "password": password, "next": "/events/"})
    return response.status_code, response.headers.get("Location") or response.content.decode()


def test_it_lets_somebody_with_a_role_in_and_back_to_where_they_were(
    client: Client, vera: User
) -> None:
    assert post(client, "vera", PASSWORD) == (302, "/events/")


def test_it_tells_somebody_without_a_role_whom_to_ask(client: Client, charlie: User) -> None:
    status, html = post(client, "charlie", PASSWORD)

    assert status == 200
    assert "has no role yet" in html
    assert client.get("/events/").status_code == 302


def test_it_does_not_tell_a_guesser_whether_the_account_has_a_role(
    client: Client, charlie: User
) -> None:
    status, html = post(client, "charlie", "a guess")

    assert status == 200
    assert "do not fit together" in html
    assert "role" not in html


def test_it_says_when_to_try_again_after_too_many_guesses(
    client: Client, vera: User, settings: Settings
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    for _ in range(3):
        post(client, "vera", "a guess")

    response = client.post("/login/", {"username": "vera", "password": PASSWORD})

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "900"
    assert "Try again at <time datetime=" in response.content.decode()


def test_it_asks_a_stranger_to_sign_in_first(client: Client, db: None) -> None:
    for path in ("/", "/events/", "/dead-letters/", "/live/figures/", "/sources/source/"):
        assert client.get(path).headers["Location"] == f"/login/?next={path}"


def test_it_does_not_follow_an_address_of_another_site(client: Client, vera: User) -> None:
    response = client.post(
        "/login/", {"username": "vera", "password": PASSWORD, "next": "https://evil.example/"}
    )

    assert response.headers["Location"] == "/"
