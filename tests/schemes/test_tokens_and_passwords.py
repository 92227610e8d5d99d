"""Schemes that only compare a header: tokens, passwords, and tokens of GitLab and monday."""

from __future__ import annotations

import base64

import pytest

from apps.sources.schemes import SignatureRefused, build_verifier
from tests.schemes.requests import (
    BODY,
    NOW,
    URL,
    request_with,
    sampled,
    signed_request,
    with_header,
)


def code_of(scheme: str, secrets: list[str], headers: dict[str, str]) -> str:
    with pytest.raises(SignatureRefused) as refused:
        build_verifier(scheme, {}, secrets).verify(request_with(headers))
    return refused.value.code


@pytest.mark.parametrize(
    "value",
    ["Bearer secre", "Bearer secret1", "bearer secret", "secret", "Bearer ", "Basic secret"],
)
def test_a_bearer_token_has_to_be_the_secret(value: str) -> None:
    assert code_of("api-key", ["secret"], {"Authorization": value}) == "bad_signature"


def test_a_missing_token_is_refused() -> None:
    assert code_of("api-key", ["secret"], {}) == "missing_signature"
    assert code_of("api-key", [], {"Authorization": "Bearer "}) == "no_secret"


def test_a_token_may_stand_in_any_header() -> None:
    options = {"header": "X-Api-Key", "prefix": ""}
    verifier = build_verifier("api-key", options, ["one", "two"])
    assert verifier.verify(request_with({"X-Api-Key": "two"})).secret_index == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_signature"),
        ("?token=", "missing_signature"),
        ("?tokens=secret", "missing_signature"),
        ("?token=secret&token=secret", "missing_signature"),
        ("?token=secre", "bad_signature"),
        ("?token=secret1", "bad_signature"),
        ("?token=SECRET", "bad_signature"),
        ("?token=%ff", "bad_signature"),
        ("#token=secret", "missing_signature"),
    ],
)
def test_a_token_in_the_url_has_to_be_the_secret(query: str, code: str) -> None:
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("url-token", {}, ["secret"]).verify(request_with({}, url=URL + query))
    assert refused.value.code == code


def test_a_token_in_the_url_may_hold_any_characters() -> None:
    secret = "a/b?c&d=e +é%20"
    request = sampled("url-token", secret, {"parameter": "key"})
    verifier = build_verifier("url-token", {"parameter": "key"}, ["other", secret])
    assert verifier.verify(request).secret_index == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"value": []}',
        b'{"value": [{"clientState": ""}]}',
        b'{"value": [{"clientState": "stat"}]}',
        b'{"value": [{"clientState": ["state"]}]}',
        b'{"value": {"clientState": "state"}}',
        b'{"value": [{"clientState": "state"}, {"clientState": "other"}]}',
        b'{"value": [{"clientState": "state"}, {"clientState": 0}]}',
    ],
)
def test_each_item_of_microsoft_graph_has_to_repeat_the_secret(body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        build_verifier("microsoft-graph", {}, ["state", "later"]).verify(request_with({}, body))


def test_items_of_two_secrets_are_of_no_one() -> None:
    body = b'{"value": [{"clientState": "a"}, {"clientState": "b"}]}'
    with pytest.raises(SignatureRefused):
        build_verifier("microsoft-graph", {}, ["a", "b"]).verify(request_with({}, body))


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("given", ["user:passwor", "user:password1", "user", "usr:password", ":"])
def test_user_and_password_have_to_be_right(given: str) -> None:
    assert code_of("basic-auth", ["user:password"], basic(given)) == "bad_signature"


@pytest.mark.parametrize("header", ["Basic", "Basic ?", "Basic dXNlcjpwYXNzd29yZ", "Digest dXNl"])
def test_what_is_no_basic_authentication_is_refused(header: str) -> None:
    code = code_of("basic-auth", ["user:password"], {"Authorization": header})
    assert code == "malformed_signature"


def test_a_password_may_hold_colons() -> None:
    verifier = build_verifier("basic-auth", {}, ["user:pass:word"])
    assert verifier.verify(request_with(basic("user:pass:word"))).secret_index == 0


def test_gitlab_takes_both_kinds_of_secret_and_names_the_right_one() -> None:
    secrets = ["token-1", "whsec_c2VjcmV0", "token-2"]
    verifier = build_verifier("gitlab", {}, secrets)
    for index, secret in enumerate(secrets):
        assert verifier.verify(signed_request("gitlab", secret)).secret_index == index


def test_gitlabs_system_hooks_tell_their_event_in_the_body() -> None:
    body = b'{"event_name": "group_destroy"}'
    request = with_header(
        signed_request("gitlab", "token", body=body), "X-Gitlab-Event", b"System Hook"
    )
    verified = build_verifier("gitlab", {}, ["token"]).verify(request)
    assert verified.event_type == "System Hook group_destroy"


def test_a_token_of_the_web_that_names_another_algorithm_is_refused() -> None:
    for head in (b'{"alg":"none"}', b'{"alg":"RS256"}', b"{}", b"[]", b"\xff"):
        text = base64.urlsafe_b64encode(head).rstrip(b"=").decode()
        code = code_of("monday", ["secret"], {"Authorization": f"{text}.e30."})
        assert code == "malformed_signature"


def test_a_token_of_the_web_expires() -> None:
    headers = {
        name.decode(): value.decode()
        for name, value in signed_request("monday", "secret").headers.items()
    }
    late = request_with(headers, BODY, NOW + 301)
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("monday", {}, ["secret"]).verify(late)
    assert refused.value.code == "stale_timestamp"
