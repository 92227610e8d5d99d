"""A test event has the provider's form; a wrong signature is explained to who must repair it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.sources.schemes import (
    SCHEMES,
    SignatureRefused,
    WrongOptions,
    build_verifier,
    can_make_secret,
    explain,
    make_secret,
)
from tests.schemes.key_pairs import PROVIDERS_ALGORITHM, private_pem, public_pem
from tests.schemes.requests import request_with, sampled, signed_request

TEXT = {"text": "Where is my card?"}
SIGNED_BY_US = [slug for slug, info in SCHEMES.items() if info.can_sign]


@pytest.mark.parametrize("slug", SIGNED_BY_US)
def test_a_test_event_signed_with_a_made_up_secret_is_accepted(slug: str) -> None:
    secret = make_secret(slug)
    request = sampled(slug, secret, fields=TEXT)
    verifier = build_verifier(slug, {}, [secret])
    assert verifier.handshake(request) is None
    assert verifier.verify(request).secret_index == 0
    assert b"Where" in request.body


@pytest.mark.parametrize("slug", PROVIDERS_ALGORITHM)
def test_a_test_event_of_a_public_key_scheme_needs_the_private_key(slug: str) -> None:
    public, private = public_pem(PROVIDERS_ALGORITHM[slug]), private_pem(PROVIDERS_ALGORITHM[slug])
    with pytest.raises(WrongOptions) as refused:
        sampled(slug, public)
    assert refused.value.field == "secrets"
    request = sampled(slug, private)
    assert build_verifier(slug, {}, [public]).verify(request).secret_index == 0


def test_every_scheme_can_be_tried_out_but_those_with_certificates() -> None:
    assert set(SCHEMES) - set(SIGNED_BY_US) - set(PROVIDERS_ALGORITHM) == {"aws-sns", "paypal"}
    with pytest.raises(WrongOptions) as refused:
        sampled("aws-sns", "", {"topic_arn": "arn"})
    assert refused.value.field == "scheme"


@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("hmac", {"key_form": "hex"}),
        ("hmac", {"key_form": "base64"}),
        ("hmac", {"key_form": "whsec"}),
        ("hmac", {"algorithm": "hmac-sha512", "encoding": "base64", "prefix": "sig="}),
        ("hmac", {"timestamp_path": "sent.at", "timestamp_unit": "iso8601", "tolerance_s": 5}),
        ("hmac", {"timestamp_path": "sent[0].at", "tolerance_s": 5}),
        ("api-key", {"header": "X-Key", "prefix": ""}),
        ("url-token", {"parameter": "key"}),
        ("body-token", {"token_path": "auth.items[0].token"}),
        ("jwt", {"algorithm": "HS512", "body_claim": "sha256", "body_encoding": "hex"}),
        ("hmac-body", {"signature_path": "a.sig", "signed": "{a.id}|{a.at}", "tolerance_s": None}),
    ],
)
def test_a_test_event_follows_the_options_of_its_source(
    slug: str, options: dict[str, object]
) -> None:
    secret = make_secret(slug, options)
    request = sampled(slug, secret, options)
    assert build_verifier(slug, options, [secret]).verify(request).secret_index == 0


@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("discord", {}),
        ("aws-sns", {"topic_arn": "arn"}),
        ("hmac", {"algorithm": "ed25519"}),
        ("hmac", {"key_form": "pem"}),
        ("nonsense", {}),
    ],
)
def test_no_secret_is_made_up_where_it_would_be_no_use(
    slug: str, options: dict[str, object]
) -> None:
    with pytest.raises(WrongOptions):
        make_secret(slug, options)


def test_made_up_secrets_differ_and_are_long() -> None:
    made = {make_secret(slug) for slug in SIGNED_BY_US for _ in range(2)}
    assert len(made) == 2 * len(SIGNED_BY_US)
    assert min(len(value) for value in made) > 40
    assert can_make_secret("github")
    assert not can_make_secret("telnyx")


HAVE_BOTH: dict[str, dict[str, Any]] = {
    "standard-webhooks": {},
    "stripe": {},
    "github": {},
    "front": {},
    "mux": {},
    "sentry": {},
    "checkout": {},
}


@pytest.mark.parametrize("slug", HAVE_BOTH)
def test_a_test_event_has_its_id_and_type_where_the_provider_has_them(slug: str) -> None:
    secret = make_secret(slug)
    request = sampled(slug, secret, fields=TEXT)
    verified = build_verifier(slug, {}, [secret]).verify(request)
    assert (verified.event_id, verified.event_type) == ("id-1", "kind.1")
    assert json.loads(request.body)["text"] == TEXT["text"]


def test_an_id_inside_a_list_is_put_there() -> None:
    body = json.loads(sampled("attio", "secret", fields=TEXT).body)
    assert body == TEXT | {"events": [{"event_type": "kind.1"}]}
    body = json.loads(sampled("hubspot", "secret", fields=TEXT).body)
    assert body == [TEXT | {"subscriptionType": "kind.1"}]


BODY = '{"naïve":"a/b","n":[1,2]}'.encode()


@pytest.mark.parametrize(
    ("arrived", "reason"),
    [
        (BODY + b"\n", "something added it"),
        (b'{"na\\u00efve": "a/b", "n": [1, 2]}', "re-encoded"),
        ('{"naïve": "a/b", "n": [1, 2]}'.encode(), "re-encoded"),
        (BODY.replace(b"a/b", b"a\\/b"), "re-encoded"),
        (BODY.replace(b"1", b"3"), "does not match the active secret."),
    ],
)
def test_what_happened_to_the_body_is_told(arrived: bytes, reason: str) -> None:
    request = signed_request("github", "secret", body=BODY)
    request.body = arrived
    verifier = build_verifier("github", {}, ["secret"])
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(request)
    assert reason in explain(verifier, request, refused.value)


def test_other_refusals_are_told_as_they_are() -> None:
    request = request_with({}, BODY)
    verifier = build_verifier("github", {}, ["secret"])
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(request)
    assert explain(verifier, request, refused.value) == refused.value.detail
