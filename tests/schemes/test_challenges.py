"""A source answers its provider's challenges, and gives a stranger nothing by it."""

from __future__ import annotations

import json

import pytest

from apps.sources.schemes import (
    Handshake,
    Request,
    SignatureRefused,
    WrongOptions,
    build_verifier,
    sign,
)
from tests.schemes.requests import BODY, NOW, URL, request_with, signed_request


def ask(
    scheme: str,
    secrets: list[str],
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    options: dict[str, object] | None = None,
) -> Handshake | None:
    verifier = build_verifier(scheme, options or {}, secrets)
    return verifier.handshake(request_with(headers or {}, body))


def get(
    scheme: str, query: str, secrets: list[str], options: dict[str, object] | None = None
) -> Handshake | None:
    verifier = build_verifier(scheme, options or {}, secrets)
    return verifier.handshake(Request("GET", f"{URL}?{query}", {}, b"", NOW))


def is_refused(scheme: str, secrets: list[str], body: bytes, headers: dict[str, str]) -> bool:
    with pytest.raises(SignatureRefused):
        ask(scheme, secrets, body, headers)
    return True


def test_slacks_challenge_is_echoed_as_text() -> None:
    body = b'{"type": "url_verification", "challenge": "abc"}'
    headers = sign("slack", {}, "secret", body, NOW, "", "")
    answer = ask("slack", ["secret"], body, headers)
    assert answer == Handshake(body=b"abc")
    assert answer.content_type.startswith("text/plain")


def test_slacks_challenge_must_be_signed_once_there_is_a_secret() -> None:
    body = b'{"type": "url_verification", "challenge": "abc"}'
    assert ask("slack", [], body) == Handshake(body=b"abc")
    assert is_refused("slack", ["secret"], body, {})


@pytest.mark.parametrize("plain", ["v0:1700000000:{}", "a b", "", "x" * 200, '{"event": "x"}'])
def test_zoom_is_not_a_way_to_have_an_event_signed(plain: str) -> None:
    body = json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": plain}})
    try:
        answer = ask("zoom", ["secret"], body.encode())
    except SignatureRefused:
        answer = None
    assert answer is None


@pytest.mark.parametrize("token", ["%7B%22a%22%3A1%7D", "a%20b", "", "x" * 200])
def test_twitter_is_not_a_way_to_have_an_event_signed(token: str) -> None:
    with pytest.raises(SignatureRefused):
        get("twitter", f"crc_token={token}", ["secret"])


def test_a_challenge_that_needs_the_secret_fails_without_one() -> None:
    with pytest.raises(SignatureRefused):
        get("twitter", "crc_token=abc", [])


def test_asanas_secret_is_learned_once() -> None:
    answer = ask("asana", [], headers={"X-Hook-Secret": "from-asana"})
    assert answer is not None
    assert answer.learned_secret == "from-asana"
    assert answer.headers == {b"x-hook-secret": b"from-asana"}
    assert "from-asana" not in repr(answer).replace("b'from-asana'", "")


def test_a_stranger_cannot_plant_a_secret_in_a_source_that_has_one() -> None:
    assert is_refused("asana", ["secret"], b"", {"X-Hook-Secret": "mine"})
    assert is_refused("notion", ["secret"], b'{"verification_token": "mine"}', {})


def test_notions_token_is_learned_once() -> None:
    answer = ask("notion", [], b'{"verification_token": "from-notion"}')
    assert answer is not None
    assert answer.learned_secret == "from-notion"


def test_meta_needs_the_verify_token_of_the_source() -> None:
    query = "hub.mode=subscribe&hub.challenge=c&hub.verify_token="
    options: dict[str, object] = {"verify_token": "t"}
    assert get("meta-whatsapp", query + "t", [], options) == Handshake(body=b"c")
    for token, stored in (("u", options), ("", options), ("", {}), ("t", {})):
        with pytest.raises(SignatureRefused):
            get("meta-whatsapp", query + token, [], stored)


def test_discords_pings_are_answered_only_when_signed() -> None:
    assert is_refused("discord", [], b'{"type": 1, "id": "1"}', {})
    assert is_refused("discord", [], b'{"type": 0, "application_id": "1"}', {})


def test_the_shops_first_look_is_answered() -> None:
    assert ask("woocommerce", ["secret"], b"webhook_id=12") == Handshake()
    assert ask("woocommerce", ["secret"], b"webhook_id=12&a=b") is None


@pytest.mark.parametrize("scheme", ["trello", "mandrill", "intercom"])
def test_a_head_request_finds_the_source(scheme: str) -> None:
    verifier = build_verifier(scheme, {}, ["secret"])
    assert verifier.takes_get
    assert verifier.handshake(Request("HEAD", URL, {}, b"", NOW)) == Handshake()
    assert verifier.handshake(Request("GET", URL, {}, b"", NOW)) is None


@pytest.mark.parametrize(
    "scheme", ["slack", "zoom", "front", "xero", "twitch", "monday", "notion", "asana"]
)
def test_an_ordinary_event_is_no_challenge(scheme: str) -> None:
    request = signed_request(scheme, "secret", body=BODY)
    assert build_verifier(scheme, {}, ["secret"]).handshake(request) is None


def test_a_verify_token_is_only_an_option_where_it_is_used() -> None:
    with pytest.raises(WrongOptions):
        build_verifier("github", {"verify_token": "t"}, [])
