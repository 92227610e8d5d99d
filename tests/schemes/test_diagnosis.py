"""A refused request says in plain words what is wrong, and never a secret or the payload."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from apps.sources.schemes import Case, Request, SignatureRefused, build_verifier, explain

NOW = 1_800_000_000.0
SECRET, OLD = "the-secret-of-today", "the-secret-of-yesterday"
BODY = json.dumps({"text": "naïve/plain", "n": 1}).encode()
URL = "https://example.com/hooks/shop"


def github(body: bytes, secret: str, header: str = "x-hub-signature-256") -> Request:
    digest = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    headers = {header.encode(): f"sha256={digest}".encode(), b"content-type": b"application/json"}
    return Request("POST", URL, headers, body, NOW)


def standard(body: bytes, secret: str, age_s: int) -> Request:
    sent = str(int(NOW) - age_s)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"msg_1.{sent}.".encode() + body, hashlib.sha256)
    signature = b"v1," + base64.b64encode(digest)
    headers = {
        b"webhook-id": b"msg_1",
        b"webhook-timestamp": sent.encode(),
        b"webhook-signature": signature,
    }
    return Request("POST", URL, headers, body, NOW)


def why(
    request: Request,
    secrets: Sequence[str] = (SECRET,),
    scheme: str = "github",
    options: dict[str, Any] | None = None,
    others: Sequence[tuple[str, str]] = (),
) -> str:
    verifier = build_verifier(scheme, options or {}, secrets)
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(request)
    text = explain(verifier, request, refused.value, Case(scheme, options or {}, secrets, others))
    for hidden in (*secrets, *(secret for secret, _ in others), "naïve"):
        assert hidden.strip() not in text
    return text


def test_it_counts_the_active_secrets() -> None:
    text = why(github(BODY, "somebody else's"), ["a" * 20, "b" * 20])

    assert text == "The signature does not match any of 2 active secrets."


@pytest.mark.parametrize("layout", [{"separators": (",", ":")}, {"indent": 2}])
def test_a_body_that_was_re_encoded_is_recognised(layout: dict[str, Any]) -> None:
    signed = github(BODY, SECRET)
    arrived = json.dumps(json.loads(BODY), ensure_ascii=False, **layout).encode()

    assert "something parsed and re-encoded it" in why(replace(signed, body=arrived))


def test_a_retired_secret_is_named_with_its_day() -> None:
    others = [(OLD, "a secret that was retired on 3 November 2026")]

    text = why(github(BODY, OLD), others=others)

    assert text.endswith("It matches a secret that was retired on 3 November 2026.")


def test_a_source_without_active_secrets_knows_its_retired_one() -> None:
    text = why(github(BODY, OLD), [], others=[(OLD, "a secret that was retired today")])

    assert text.endswith("It matches a secret that was retired today.")


@pytest.mark.parametrize(
    ("pasted", "words"), [(f" {SECRET}\n", "spaces or line breaks"), (f'"{SECRET}"', "quotation")]
)
def test_a_secret_that_was_pasted_with_too_much_is_noticed(pasted: str, words: str) -> None:
    assert words in why(github(BODY, SECRET), [pasted])


def test_a_wrong_encoding_is_named_with_the_option_that_mends_it() -> None:
    digest = hmac.digest(SECRET.encode(), BODY, hashlib.sha256)
    options = {"header": "X-Sig", "encoding": "hex"}
    request = Request("POST", URL, {b"x-sig": base64.b64encode(digest)}, BODY, NOW)

    assert "were “Base64”" in why(request, scheme="hmac", options=options)


def test_a_request_of_another_provider_names_its_scheme() -> None:
    assert "with the scheme “GitHub”" in why(github(BODY, SECRET), scheme="shopify")


def test_a_missing_header_names_the_one_that_came_instead() -> None:
    text = why(github(BODY, "another", header="x-acme-signature"))

    assert "It carries x-acme-signature instead" in text


def test_a_stranger_without_any_signature_is_told_apart() -> None:
    text = why(Request("POST", URL, {b"content-type": b"application/json"}, BODY, NOW))

    assert text.endswith("it may not come from the provider at all.")


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(720, "signed 12 minutes before it arrived"), (-7200, "clock, or ours, is wrong by 2 hours")],
)
def test_a_stale_timestamp_says_whether_the_rest_is_right(age_s: int, words: str) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * 24).decode()
    wrong = "whsec_" + base64.b64encode(b"w" * 24).decode()

    assert words in why(standard(BODY, secret, age_s), [secret], "standard-webhooks")
    assert "signature is right" not in why(
        standard(BODY, wrong, age_s), [secret], "standard-webhooks"
    )


def test_a_long_body_is_not_rewritten_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"text": "x" * 200_000}).encode()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: pytest.fail("it was rewritten"))

    assert why(github(body, "another")) == "The signature does not match the active secret."
