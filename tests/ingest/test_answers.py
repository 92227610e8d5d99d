"""Every answer that a sender can get."""

from __future__ import annotations

import hmac
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from apps.sources.models import Secret, Source
from tests.ingest.conftest import BODY, Hooks, code_of, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_answers_202_with_the_id_of_the_event_that_lies_in_the_queue(hooks: Hooks) -> None:
    response = hooks.post()
    (entry,) = hooks.entries()
    assert response.status_code == 202
    assert response.json() == {"id": f"evt_{entry.event_id}", "duplicate": False}


def test_it_queues_the_raw_bytes_with_all_that_the_dispatcher_needs(
    hooks: Hooks, helpdesk: Source
) -> None:
    body = b'{ "type":"ticket.created",\n"text": "\xc3\xa4" }'
    hooks.post(body, "msg_7")
    (entry,) = hooks.entries()
    assert entry.body == body
    assert (entry.source_id, entry.key) == (helpdesk.pk, "msg_7")
    assert (entry.event_type, entry.content_type) == ("ticket.created", "application/json")


def test_it_takes_the_address_with_a_trailing_slash(hooks: Hooks) -> None:
    assert hooks.post(path="/hooks/helpdesk/").status_code == 202


def test_it_answers_a_duplicate_200_with_the_first_id(hooks: Hooks) -> None:
    first, second = hooks.post(), hooks.post()
    assert second.status_code == 200
    assert second.json() == {"id": first.json()["id"], "duplicate": True}
    assert len(hooks.entries()) == 1


def test_it_takes_the_bodys_hash_as_key_where_the_provider_sends_no_id(
    hooks: Hooks, helpdesk: Source
) -> None:
    source = Source.objects.create(
        slug="shop", name="Shop", scheme="hmac", pipeline=helpdesk.pipeline
    )
    Secret.objects.create(source=source, value="s3cret")
    headers = {
        "x-signature": hmac.digest(b"s3cret", BODY, "sha256").hex(),
        "content-type": "application/json",
    }
    path = "/hooks/shop"
    wait_until(lambda: hooks.client.post(path, content=BODY, headers=headers).status_code < 300)
    assert hooks.client.post(path, content=BODY, headers=headers).json()["duplicate"]
    assert [entry.key[:5] for entry in hooks.entries()] == ["body:"]


def test_it_refuses_a_wrong_signature(hooks: Hooks) -> None:
    signature = sign(BODY + b" ", "msg_1")["webhook-signature"]
    assert code_of(hooks.post(webhook_signature=signature)) == (401, "bad_signature")
    assert hooks.entries() == []


def test_it_refuses_an_event_without_signature(hooks: Hooks) -> None:
    response = hooks.client.post(
        "/hooks/helpdesk", content=BODY, headers={"content-type": "application/json"}
    )
    assert code_of(response) == (401, "missing_signature")


def test_it_refuses_a_stale_timestamp(hooks: Hooks) -> None:
    assert code_of(hooks.post(age_s=301)) == (401, "stale_timestamp")


def test_it_answers_404_where_there_is_no_source(hooks: Hooks) -> None:
    assert code_of(hooks.post(path="/hooks/nobody")) == (404, "unknown_source")
    assert code_of(hooks.post(path="/hooks/")) == (404, "unknown_source")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_takes_nothing_but_post(hooks: Hooks, method: str) -> None:
    response = hooks.client.request(method, "/hooks/helpdesk")
    assert code_of(response) == (405, "wrong_method")
    assert response.headers["allow"] == "POST"


def test_it_refuses_a_body_over_the_limit_before_it_is_sent(hooks: Hooks, helpdesk: Source) -> None:
    head = b"POST /hooks/helpdesk HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n"
    assert exchange(hooks, head).startswith(b"HTTP/1.1 413 ")


def test_it_refuses_a_body_over_the_limit_that_comes_in_chunks(hooks: Hooks) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    response = hooks.client.post("/hooks/helpdesk", content=chunks())
    assert code_of(response) == (413, "body_too_large")


def test_it_takes_a_body_of_the_limit_that_comes_in_chunks(hooks: Hooks) -> None:
    text = "x" * (1_048_576 - len(b'{"text": ""}'))
    body = json.dumps({"text": text}).encode()
    chunks = (body[at : at + 100_000] for at in range(0, len(body), 100_000))
    headers = sign(body, "msg_1")
    response = hooks.client.post("/hooks/helpdesk", content=chunks, headers=headers)
    assert response.status_code == 202
    assert hooks.entries()[0].body == body


def test_a_source_may_have_a_smaller_limit(hooks: Hooks, helpdesk: Source) -> None:
    helpdesk.max_body_bytes = 10
    helpdesk.save()
    wait_until(lambda: hooks.post().status_code == 413, 2, "the smaller limit")


def test_it_refuses_an_encoded_body(hooks: Hooks) -> None:
    assert code_of(hooks.post(content_encoding="gzip")) == (415, "encoded_body")


@pytest.mark.parametrize(
    "wrong", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""]
)
def test_it_refuses_a_wrong_content_type(hooks: Hooks, wrong: str) -> None:
    assert code_of(hooks.post(content_type=wrong)) == (415, "wrong_content_type")


@pytest.mark.parametrize(
    "right", ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"]
)
def test_it_takes_every_spelling_of_json(hooks: Hooks, right: str) -> None:
    assert hooks.post(content_type=right).status_code == 202


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": "\xff"}', b"{} {}"]
)
def test_it_refuses_what_is_not_json(hooks: Hooks, body: bytes) -> None:
    assert code_of(hooks.post(body)) == (400, "not_json")
    assert hooks.entries() == []


def test_it_takes_json_that_is_only_unusual(hooks: Hooks) -> None:
    assert hooks.post(b'{"a": "\\ud800"}').status_code == 202


def test_it_refuses_a_header_that_comes_twice(hooks: Hooks) -> None:
    headers = [*sign(BODY, "msg_1").items(), ("webhook-signature", "v1,AAAA")]
    response = hooks.client.post("/hooks/helpdesk", content=BODY, headers=headers)
    assert code_of(response) == (400, "repeated_header")


def test_it_minds_no_header_that_proxies_repeat(hooks: Hooks) -> None:
    forwarded = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]
    headers = [*sign(BODY, "msg_1").items(), *forwarded]
    response = hooks.client.post("/hooks/helpdesk", content=BODY, headers=headers)
    assert response.status_code == 202


def test_it_refuses_two_content_lengths(hooks: Hooks) -> None:
    head = b"POST /hooks/helpdesk HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n"
    assert exchange(hooks, head + b"\r\n{} ").startswith(b"HTTP/1.1 400 ")


def test_a_paused_source_asks_to_try_again(hooks: Hooks, helpdesk: Source) -> None:
    helpdesk.pause()
    wait_until(lambda: hooks.post().status_code == 503, 2, "the pause")
    response = hooks.post()
    assert code_of(response) == (503, "source_paused")
    assert int(response.headers["retry-after"]) > 0
    helpdesk.resume()
    wait_until(lambda: hooks.post().status_code in (200, 202), 2, "the end of the pause")


def exchange(hooks: Hooks, request: bytes) -> bytes:
    """What the server answers to these bytes."""
    address = urlsplit(hooks.base_url)
    with socket.create_connection((address.hostname, address.port), 3) as connection:
        connection.sendall(request)
        return connection.recv(65_536)
