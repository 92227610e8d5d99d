"""A source answers its provider's challenges over HTTP: POST, GET and HEAD."""

from __future__ import annotations

import hmac
import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import transaction

from apps.pipelines.payload import read_payload
from apps.sources.models import Secret, Source
from apps.sources.schemes import SCHEMES, build_verifier
from tests.ingest.conftest import Hooks, code_of, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeSource = Callable[..., str]
HEAD_SCHEMES = ["trello", "mandrill", "intercom"]


@pytest.fixture
def make_source(hooks: Hooks, helpdesk: Source) -> MakeSource:
    """Makes a source and waits until ingest knows it; gives its path."""

    def make(scheme: str, secret: str = "", **options: Any) -> str:
        with transaction.atomic():  # ingest must not see it before it has its secret
            source = Source.objects.create(
                slug=f"of-{scheme}",
                name=scheme,
                scheme=scheme,
                options=options,
                pipeline=helpdesk.pipeline,
            )
            if secret:
                Secret.objects.create(source=source, value=secret)
        path = f"/hooks/{source.slug}"
        wait_until(lambda: hooks.client.put(path).status_code == 405, 3, "the source")
        return path

    return make


def ask(hooks: Hooks, method: str, *paths: str) -> list[tuple[int, bytes]]:
    """Status and body of each, over one connection: an unread body would be the next answer."""
    address = urlsplit(hooks.base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
    answers = []
    for path in paths:
        connection.request(method, path)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
    connection.close()
    return answers


@pytest.mark.parametrize("scheme", HEAD_SCHEMES)
def test_a_head_request_finds_the_source_and_gets_no_body(
    hooks: Hooks, make_source: MakeSource, scheme: str
) -> None:
    path = make_source(scheme, "secret")
    assert ask(hooks, "HEAD", path, path) == [(200, b""), (200, b"")]
    assert code_of(hooks.client.get(path)) == (405, "wrong_method")


def test_where_no_scheme_wants_it_a_head_request_is_refused_without_a_body(hooks: Hooks) -> None:
    path = "/hooks/helpdesk"
    assert ask(hooks, "HEAD", path, "/hooks/nobody", path) == [(405, b""), (404, b""), (405, b"")]


def test_only_three_providers_look_with_head() -> None:
    look = [slug for slug in SCHEMES if "head" in type(challenge_of(slug)).__name__.lower()]
    assert sorted(look) == sorted(HEAD_SCHEMES)


def challenge_of(slug: str) -> object:
    options = {"topic_arn": "arn"} if slug == "aws-sns" else {}
    return build_verifier(slug, options, []).challenge


def test_a_text_given_back_is_never_taken_for_a_page(hooks: Hooks, make_source: MakeSource) -> None:
    path = make_source("dropbox", "secret")
    response = hooks.client.get(f"{path}?challenge=<script>")
    assert (response.status_code, response.text) == (200, "<script>")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_metas_challenge_is_answered_only_with_the_verify_token(
    hooks: Hooks, make_source: MakeSource
) -> None:
    path = make_source("meta-whatsapp", verify_token="t")
    query = "hub.mode=subscribe&hub.challenge=c&hub.verify_token="
    assert hooks.client.get(f"{path}?{query}t").text == "c"
    assert code_of(hooks.client.get(f"{path}?{query}u")) == (403, "challenge_refused")


def test_microsoft_graph_validates_a_subscription_and_repeats_its_client_state(
    hooks: Hooks, make_source: MakeSource
) -> None:
    path = make_source("microsoft-graph", "state-1")
    response = hooks.client.post(f"{path}?validationToken=Validation%3A%20a%2Bb")
    assert (response.status_code, response.text) == (200, "Validation: a+b")
    right = {"value": [{"clientState": "state-1", "changeType": "updated"}] * 2}
    assert hooks.client.post(path, json=right).status_code == 202
    for wrong in ("state-2", "", ["state-1"], 1):
        mixed = {"value": [*right["value"], {"clientState": wrong, "changeType": "updated"}]}
        assert hooks.client.post(path, json=mixed).status_code == 401
    assert [entry.event_type for entry in hooks.entries()] == ["updated"]


def test_a_sender_without_password_is_asked_for_it(hooks: Hooks, make_source: MakeSource) -> None:
    path = make_source("basic-auth", "user:password")
    response = hooks.client.post(path, json={})
    assert code_of(response) == (401, "missing_signature")
    assert response.headers["www-authenticate"].startswith("Basic realm=")
    assert hooks.client.post(path, json={}, auth=("user", "password")).status_code == 202


def test_a_secret_in_the_url_is_enough_where_the_scheme_says_so(
    hooks: Hooks, make_source: MakeSource
) -> None:
    path = make_source("docker-hub", "s3cret/+ä")
    assert hooks.client.post(path, json={}, params={"token": "s3cret/+ä"}).status_code == 202
    assert code_of(hooks.client.post(f"{path}?token=s3cret", json={})) == (401, "bad_signature")
    assert code_of(hooks.client.post(path, json={})) == (401, "missing_signature")
    twice = hooks.client.post(f"{path}?token=a&token=b", json={})
    assert code_of(twice) == (401, "missing_signature")
    helpdesk = hooks.client.post("/hooks/helpdesk?token=a", content=b"{}", headers=sign(b"{}", "m"))
    assert helpdesk.status_code == 202


def test_dropbox_sign_reads_the_words_that_it_wants(hooks: Hooks, make_source: MakeSource) -> None:
    path, now = make_source("dropbox-sign", "key"), str(int(time.time()))
    right = hmac.digest(b"key", f"{now}callback_test".encode(), "sha256").hex()
    event = {"event": {"event_time": now, "event_type": "callback_test", "event_hash": right}}
    answers = [hooks.client.post(path, files={"json": (None, json.dumps(event))}) for _ in range(2)]
    assert [(a.status_code, a.text) for a in answers] == [(200, "Hello API Event Received")] * 2
    entry, again = hooks.entries()  # a boundary of its own makes each try another body
    assert entry.key == again.key
    assert entry.event_type == "callback_test"
    assert read_payload(entry.body, entry.content_type) == event
    assert code_of(hooks.client.post("/hooks/helpdesk", files={"json": "{}"}))[0] == 415
