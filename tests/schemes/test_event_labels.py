"""The event's id and type are found in a header or the body, and are fit to be stored."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from apps.sources.schemes import WrongOptions, build_verifier, is_json, read_body, sign
from apps.sources.schemes.body import compile_path
from apps.sources.schemes.labels import MAX_ID_CHARS, MAX_TYPE_CHARS
from tests.schemes.requests import NOW, URL, request_with

CUSTOM: dict[str, object] = {"event_id_path": "id", "event_type_path": "kind"}


def labels(body: bytes, options: dict[str, object] | None = None, **headers: str) -> Any:
    options = CUSTOM if options is None else options
    signed = sign("hmac", options, "secret", body, NOW, "", "")
    signed |= {name.replace("_", "-"): value for name, value in headers.items()}
    verified = build_verifier("hmac", options, ["secret"]).verify(request_with(signed, body))
    return verified.event_id, verified.event_type


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id": "e1", "kind": "paid"}', ("e1", "paid")),
        (b'{"id": 0, "kind": "paid"}', ("0", "paid")),
        (b'{"id": 12345678901234567890}', ("12345678901234567890", "")),
        (b'{"id": "", "kind": null}', (None, "")),
        (b'{"id": true, "kind": ["a"]}', (None, "")),
        (b'{"id": 1.5, "kind": {}}', (None, "")),
        (b'{"id": "a\\u0000b", "kind": "a\\nb"}', (None, "")),
        (b'{"id": "\\ud800"}', (None, "")),
        (b"[1]", (None, "")),
        (b"not json", (None, "")),
        (b"[" * 100_000, (None, "")),
        (b"", (None, "")),
        (b"\xff\xfe", (None, "")),
    ],
)
def test_only_what_can_be_stored_is_a_label(body: bytes, found: tuple[str | None, str]) -> None:
    assert labels(body) == found


def test_a_header_comes_before_the_body() -> None:
    options = CUSTOM | {"event_id_header": "X-Id, X-Other-Id", "event_type_header": "X-Kind"}
    body = b'{"id": "e1", "kind": "paid"}'
    assert labels(body, options, X_Other_Id="h1") == ("h1", "paid")
    assert labels(body, options, X_Kind="sold") == ("e1", "sold")


def test_an_id_that_is_too_long_is_none_and_a_type_is_cut() -> None:
    body = json.dumps({"id": "i" * (MAX_ID_CHARS + 1), "kind": "k" * (MAX_TYPE_CHARS + 1)})
    assert labels(body.encode()) == (None, "k" * MAX_TYPE_CHARS)


def test_a_jmespath_may_compose_a_label() -> None:
    options: dict[str, object] = {
        "event_id_path": "join('-', [a.id, to_string(n)])",
        "event_type_path": "sum(a)",
    }
    assert labels(b'{"a": {"id": "x"}, "n": 3}', options) == ("x-3", "")


def test_a_body_is_parsed_once_and_known_to_be_json_or_not() -> None:
    request = request_with({}, b'{"a": 1}')
    assert read_body(request) is read_body(request)
    assert is_json(request)
    assert not is_json(request_with({}, b"{"))
    assert is_json(request_with({}, b"null"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert not is_json(request_with(form, b"a=1"))


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("path", "document", "found"),
    [
        ("a || b", {"a": "", "b": "x"}, "x"),
        ("a || join('.', [b, c])", {"b": "x", "c": "y"}, "x.y"),
        ("a || join('.', [b, c])", {"a": "z", "b": "x", "c": "y"}, "z"),
        ("a || b || c[0].d", {"c": [{"d": "x"}]}, "x"),
        ("a || b | [0]", {"a": ["x"], "b": ["y"]}, "x"),
        ("[1] || a", {"a": "x"}, "x"),
        ("a || 'b||c'", {}, "b||c"),
        ("parse_json(a).b", {"a": '{"b": "x"}'}, "x"),
        ("parse_json(a)[0].b", {"a": '[{"b": "x"}]'}, "x"),
        ("parse_json(a).b", {"a": "no json"}, None),
        ("parse_json(a).b", {"a": '{"b": NaN}'}, None),
        ("parse_json(a).b", {"a": {"b": "x"}}, None),
        ("parse_json(a).b", {}, None),
        ("a || parse_json(b).c", {"b": '{"c": "x"}'}, "x"),
    ],
)
def test_the_short_way_through_a_path_finds_what_the_long_one_does(
    path: str, document: Any, found: object
) -> None:
    assert compile_path("event_type_path", path)(document) == found


@pytest.mark.parametrize("path", ["a ||", "|| a", "a || b..c", "a b", "nonsense(a)("])
def test_a_path_that_is_none_is_named(path: str) -> None:
    with pytest.raises(WrongOptions):
        compile_path("event_type_path", path)


def test_mandrill_and_slack_put_json_into_a_form() -> None:
    body = urlencode({"mandrill_events": '[{"event": "open"}]'}).encode()
    headers = FORM | sign("mandrill", {}, "secret", body, NOW, "", "", url=URL)
    verified = build_verifier("mandrill", {}, ["secret"]).verify(request_with(headers, body))
    assert verified.event_type == "open"
    body = urlencode({"payload": '{"type": "block_actions"}'}).encode()
    headers = FORM | sign("slack", {}, "secret", body, NOW, "", "")
    verified = build_verifier("slack", {}, ["secret"]).verify(request_with(headers, body))
    assert verified.event_type == "block_actions"


def test_a_tickets_own_type_is_no_event_type_of_zendesk() -> None:
    for body, found in (
        (b'{"type": "zen:event-type:ticket.created"}', "zen:event-type:ticket.created"),
        (b'{"ticket_id": 1, "type": "question"}', ""),
    ):
        headers = sign("zendesk", {}, "secret", body, NOW, "", "")
        verified = build_verifier("zendesk", {}, ["secret"]).verify(request_with(headers, body))
        assert verified.event_type == found
