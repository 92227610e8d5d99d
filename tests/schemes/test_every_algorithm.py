"""Each algorithm, in each encoding, of the custom scheme and of web tokens: what was signed
round-trips, and no single changed byte goes unnoticed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import Request, SignatureRefused, Verifier, build_verifier, make_secret
from apps.sources.schemes.base import UNREAD
from apps.sources.schemes.encodings import ENCODINGS, KEY_FORMS
from apps.sources.schemes.jws_keys import ALGORITHMS as JWS_ALGORITHMS
from apps.sources.schemes.keys import ALGORITHMS
from apps.sources.schemes.providers import FAMILIES, PROVIDERS
from tests.schemes.key_pairs import private_pem, public_pem
from tests.schemes.requests import sampled, signed_request, with_header

PROPERTY = settings(deadline=None, max_examples=3)
HMAC = [name for name, _ in ALGORITHMS if name.startswith("hmac-")]
PUBLIC = [name for name, _ in ALGORITHMS if not name.startswith("hmac-")]
ENCODING_NAMES = [name for name, _ in ENCODINGS]
JWS_PAIRS = {"ES256": "ecdsa-sha256", "RS256": "rsa-sha256", "EdDSA": "ed25519"}
BODIES = st.binary(min_size=1, max_size=40)
MASKS = st.integers(1, 255)


def is_refused(verifier: Verifier, request: Request) -> bool:
    try:
        verifier.verify(request)
    except SignatureRefused:
        return True
    return False


def changes(text: bytes, mask: int) -> list[bytes]:
    return [text[:at] + bytes([text[at] ^ mask]) + text[at + 1 :] for at in range(len(text))]


def options_of(algorithm: str, encoding: str) -> dict[str, object]:
    return {
        "algorithm": algorithm,
        "encoding": encoding,
        "key_form": "pem" if algorithm in PUBLIC else "text",
        "prefix": "v1=",
        "separator": ",",
        "signed": "{method}:{timestamp}:{body}",
        "timestamp_prefix": "t=",
        "tolerance_s": 300,
    }


def check_every_byte(verifier: Verifier, request: Request, header: str, mask: int) -> None:
    assert verifier.verify(request).secret_index == 0
    for body in changes(request.body, mask):
        assert is_refused(verifier, replace(request, body=body, document=UNREAD))
    sent = request.headers[header.encode()]
    for changed in changes(sent, mask):
        assert is_refused(verifier, with_header(request, header, changed))


@pytest.mark.parametrize(("algorithm", "encoding"), list(product(HMAC, ENCODING_NAMES)))
@PROPERTY
@given(body=BODIES, mask=MASKS)
def test_every_byte_counts_with_a_shared_key(
    algorithm: str, encoding: str, body: bytes, mask: int
) -> None:
    options = options_of(algorithm, encoding)
    request = signed_request("hmac", "a secret", options, body)
    # Upper case is the same hex there, by the option's own name.
    masks = mask if encoding != "hex_any_case" else mask & ~0x20 or 1
    verifier = build_verifier("hmac", options, ["a secret"])
    check_every_byte(verifier, request, "x-signature", masks)


@pytest.mark.parametrize(("algorithm", "encoding"), list(product(PUBLIC, ENCODING_NAMES)))
@settings(deadline=None, max_examples=1)
@given(body=BODIES, mask=MASKS)
def test_every_byte_counts_with_a_public_key(
    algorithm: str, encoding: str, body: bytes, mask: int
) -> None:
    options = options_of(algorithm, encoding)
    request = signed_request("hmac", private_pem(algorithm), options, body)
    masks = mask if encoding != "hex_any_case" else mask & ~0x20 or 1
    verifier = build_verifier("hmac", options, [public_pem(algorithm)])
    check_every_byte(verifier, request, "x-signature", masks)


@pytest.mark.parametrize("algorithm", [name for name, _ in JWS_ALGORITHMS])
@PROPERTY
@given(body=BODIES, mask=MASKS)
def test_every_byte_counts_with_a_web_token(algorithm: str, body: bytes, mask: int) -> None:
    options: dict[str, object] = {
        "algorithm": algorithm,
        "header": "X-Token",
        "body_claim": "body",
        "tolerance_s": 300,
    }
    ours = theirs = "a secret"
    if pair := JWS_PAIRS.get(algorithm):
        theirs, ours = private_pem(pair), public_pem(pair)
    request = signed_request("jwt", theirs, options, body)
    check_every_byte(build_verifier("jwt", options, [ours]), request, "x-token", mask)


@pytest.mark.parametrize("form", [name for name, _ in KEY_FORMS if name != "pem"])
def test_a_made_up_key_in_every_form_round_trips(form: str) -> None:
    options: dict[str, object] = {"key_form": form}
    secret = make_secret("hmac", options)
    request = signed_request("hmac", secret, options)
    assert build_verifier("hmac", options, [secret]).verify(request).secret_index == 0


FILLED = [
    slug
    for slug, row in PROVIDERS.items()
    if row.family.fill and not row.family.is_form and row.can_sign
]


@pytest.mark.parametrize("slug", FILLED)
@PROPERTY
@given(mask=MASKS)
def test_a_changed_byte_of_a_signature_inside_the_body_is_refused(slug: str, mask: int) -> None:
    """Of the body only some fields are signed, so only those are changed here."""
    secret = make_secret(slug)
    request = sampled(slug, secret, fields={"text": "x"})
    verifier = build_verifier(slug, {}, [secret])
    assert verifier.verify(request).secret_index == 0
    for part in signed_parts(slug, request.body, secret):
        place = request.body.index(part)
        for at in range(place, place + len(part)):
            changed = request.body[:at] + bytes([request.body[at] ^ mask]) + request.body[at + 1 :]
            assert is_refused(verifier, replace(request, body=changed, document=UNREAD))


def signed_parts(slug: str, body: bytes, secret: str) -> list[bytes]:
    if slug in {"microsoft-graph", "body-token"}:
        return [secret.encode()]
    name = b"event_hash" if slug == "dropbox-sign" else b"ignature"
    parts = [b"id-1", b"1700000000", body[body.index(name) :].split(b'"')[2]]
    return [part for part in parts if part in body]


def test_no_family_is_left_out() -> None:
    signing = {row.family.name for row in PROVIDERS.values() if row.family.sign}
    inside = {PROVIDERS[slug].family.name for slug in FILLED}
    forms = {"braintree", "paddle_classic"}  # test_signed_forms.py
    certificates = {"aws_sns", "paypal"}  # test_amazon_sns.py, test_paypal.py
    assert signing | inside | forms | certificates == set(FAMILIES)
