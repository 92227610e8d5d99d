"""The shared challenges, over HTTP: the source itself gives the answer that its provider wants."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from django.db import transaction

from apps.sources.models import Secret, Source
from tests.fixtures.shared_data import NEEDS_SHARED_DATA
from tests.ingest.conftest import Hooks
from tests.schemes.test_shared_handshakes import HANDSHAKES
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.shared_data,
    NEEDS_SHARED_DATA,
]

# The others are signed at a time or with a certificate of long ago: tests/schemes has them.
OVER_HTTP = [handshake for handshake in HANDSHAKES if "vector" not in handshake["request"]]
OPTIONS: dict[str, dict[str, Any]] = {"front": {"tolerance_s": None}}


def make_source(handshake: dict[str, Any], helpdesk: Source) -> str:
    provider, secret = handshake["provider"], handshake["secret"]
    given = secret if isinstance(secret, dict) else {}
    with transaction.atomic():
        source = Source.objects.create(
            slug=f"{provider}-{handshake['name']}".replace("_", "-"),
            name=provider,
            scheme=provider,
            options=OPTIONS.get(provider, {}) | given,
            pipeline=helpdesk.pipeline,
        )
        if isinstance(secret, str):
            Secret.objects.create(source=source, value=secret)
    return f"/hooks/{source.slug}"


def ask(hooks: Hooks, path: str, asked: dict[str, Any]) -> httpx.Response:
    wait_until(lambda: hooks.client.put(path).status_code == 405, 3, "the source")
    url = f"{path}?{asked['query']}" if "query" in asked else path
    body, headers = asked.get("body", "").encode(), asked.get("headers", {})
    return hooks.client.request(asked["method"], url, content=body, headers=headers)


def is_as_expected(response: httpx.Response, expect: dict[str, Any]) -> bool:
    statuses = expect["status"] if isinstance(expect["status"], list) else [expect["status"]]
    headers: dict[str, str] = expect.get("headers", {})
    return (
        response.status_code in statuses
        and response.text == expect.get("body", response.text)
        and expect.get("body_contains", "") in response.text
        and ("json" not in expect or json.loads(response.text) == expect["json"])
        and response.headers["content-type"].startswith(expect.get("content_type", ""))
        and all(response.headers[name] == value for name, value in headers.items())
    )


def test_each_challenge_gets_its_answer_and_makes_no_event(hooks: Hooks, helpdesk: Source) -> None:
    wrong = []
    for handshake in OVER_HTTP:
        path = make_source(handshake, helpdesk)
        response = ask(hooks, path, handshake["request"])
        if not is_as_expected(response, handshake["expect"]):
            wrong.append((handshake["provider"], handshake["name"], response.status_code))
    assert wrong == []
    assert len(OVER_HTTP) == 13
    assert hooks.entries() == []
