"""Clients of the API: a script with a token, a browser with a session."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient

from apps.accounts.models import ApiToken, User


def with_token(user: User, *scopes: str) -> APIClient:
    """A script that acts for the user; every scope unless told."""
    _, text = ApiToken.issue(user, "test", list(scopes) or ["all"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def with_session(user: User) -> APIClient:
    """A browser in which the user is signed in, and which checks CSRF as a real one meets it."""
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def assert_problem(response: Any, status: int, words: str = "") -> dict[str, Any]:
    """The response is a problem document of this status whose detail holds the words."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "code"} <= set(problem)
    assert words in problem["detail"]
    return problem
