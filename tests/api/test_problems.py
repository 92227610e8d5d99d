"""Every error under /api/ is a problem document, and none of them says too much."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.dashboard.api import StatsViewSet
from apps.destinations.models import Destination
from tests.api.clients import assert_problem, with_token

TOKENS = "/api/v1/tokens/"


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v2/events/", "/api/v1/nothing/"])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_address_is_a_problem_too(path: str, method: str) -> None:
    assert_problem(getattr(APIClient(), method)(path), 404)


def test_a_missing_slash_is_named(client: APIClient) -> None:
    assert_problem(client.get("/api/v1/events"), 404, "end with a slash")


def test_a_method_that_is_not_there(client: APIClient) -> None:
    assert_problem(client.put("/api/v1/events/", {}), 405)
    assert_problem(client.options("/api/v1/events/"), 405)


def test_an_answer_in_another_format_is_not_to_be_had(client: APIClient) -> None:
    assert_problem(client.get("/api/v1/events/", HTTP_ACCEPT="text/html"), 406)


def test_a_body_in_another_format_is_not_read(client: APIClient) -> None:
    assert_problem(client.post(TOKENS, "a=1", content_type="text/plain"), 415)
    assert_problem(client.post(TOKENS, {"a": 1}, format="multipart"), 415)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"name": NaN}', "not JSON"),
        (b'{"name": 1e999}', "too large"),
        (b'{"name": "\\u0000"}', "NUL"),
        (b'{"\\ud800": 1}', "half a character"),
        (b"[" * 100 + b"]" * 100, "nested"),
        (b"[" * 100_000, "not JSON"),
        (b'{"days": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
    ids=["cut", "latin", "nan", "infinity", "nul", "surrogate", "deep", "bottomless", "digits"],
)
def test_a_body_that_no_database_could_keep_is_refused(
    client: APIClient, raw: bytes, words: str
) -> None:
    assert_problem(client.post(TOKENS, raw, content_type="application/json"), 400, words)


def test_a_body_that_is_too_large_is_not_read(client: APIClient) -> None:
    raw = b'"' + b"x" * 1_100_000 + b'"'
    answer = client.post(TOKENS, raw, content_type="application/json")
    assert_problem(answer, 413, "at most 1048576 bytes")


def test_a_bug_says_nothing_of_itself(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(StatsViewSet, "list", fail)
    client = Client(raise_request_exception=False)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get("/api/v1/stats/")
    assert_problem(answer, 500, "has been logged")
    assert "secret reason" not in answer.content.decode()
    assert "secret reason" in caplog.text


def test_a_host_that_is_not_ours_is_a_problem() -> None:
    assert_problem(Client().get("/api/v1/events/", HTTP_HOST="evil.example"), 400)


def test_a_slug_that_was_taken_meanwhile_is_a_conflict(
    client: APIClient, inbox: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both asked before either wrote: the first look finds the slug free.
    monkeypatch.setattr("rest_framework.validators.qs_exists", lambda queryset: False)
    body = {"slug": "inbox", "name": "Second", "kind": "inbox"}
    assert_problem(client.post("/api/v1/destinations/", body), 409, "took this slug")
