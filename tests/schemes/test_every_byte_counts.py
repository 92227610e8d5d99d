"""Properties: what was signed round-trips, and no single changed byte goes unnoticed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import Request, SignatureRefused, Verifier, build_verifier
from apps.sources.schemes.keys import HmacKey
from tests.schemes.requests import signed_request, with_header

TEXT_SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
WHSEC_SECRETS = st.binary(min_size=1, max_size=80).map(
    lambda raw: "whsec_" + base64.b64encode(raw).decode()
)
BODIES = st.binary(max_size=200)
MASKS = st.integers(1, 255)
SECRETS = {
    "standard-webhooks": WHSEC_SECRETS,
    "github": TEXT_SECRETS,
    "stripe": TEXT_SECRETS,
    "slack": TEXT_SECRETS,
    "shopify": TEXT_SECRETS,
    "hmac": TEXT_SECRETS,
}
SIGNED_HEADERS = {
    "standard-webhooks": ("webhook-signature", "webhook-timestamp", "webhook-id"),
    "github": ("x-hub-signature-256",),
    "stripe": ("stripe-signature",),
    "slack": ("x-slack-signature", "x-slack-request-timestamp"),
    "shopify": ("x-shopify-hmac-sha256",),
    "hmac": ("x-signature",),
}
PROPERTY = settings(deadline=None, max_examples=50)  # the machine may be busy
EACH = pytest.mark.parametrize("scheme", SECRETS)


def is_refused(verifier: Verifier, request: Request) -> bool:
    try:
        verifier.verify(request)
    except SignatureRefused:
        return True
    return False


def changes(text: bytes, mask: int) -> list[bytes]:
    """`text` with one byte changed, at every place in turn."""
    places = range(len(text))
    return [text[:at] + bytes([text[at] ^ mask]) + text[at + 1 :] for at in places]


@EACH
@PROPERTY
@given(data=st.data())
def test_what_was_signed_is_accepted(scheme: str, data: st.DataObject) -> None:
    secret, body = data.draw(SECRETS[scheme]), data.draw(BODIES)
    verified = build_verifier(scheme, {}, [secret]).verify(
        signed_request(scheme, secret, body=body)
    )
    assert verified.secret_index == 0


@EACH
@PROPERTY
@given(data=st.data())
def test_a_changed_byte_of_the_body_is_refused(scheme: str, data: st.DataObject) -> None:
    secret, body = data.draw(SECRETS[scheme]), data.draw(BODIES)
    request = signed_request(scheme, secret, body=body)
    verifier = build_verifier(scheme, {}, [secret])
    for changed in changes(body, data.draw(MASKS)):
        assert is_refused(verifier, replace(request, body=changed))


@EACH
@PROPERTY
@given(data=st.data())
def test_a_changed_byte_of_signature_timestamp_or_id_is_refused(
    scheme: str, data: st.DataObject
) -> None:
    secret, mask = data.draw(SECRETS[scheme]), data.draw(MASKS)
    request = signed_request(scheme, secret)
    verifier = build_verifier(scheme, {}, [secret])
    for name in SIGNED_HEADERS[scheme]:
        for changed in changes(request.headers[name.encode()], mask):
            assert is_refused(verifier, with_header(request, name, changed))


@PROPERTY
@given(key=st.binary(min_size=1, max_size=300), message=st.binary(max_size=300), data=st.data())
def test_the_kept_hash_states_give_the_hmac_of_the_standard_library(
    key: bytes, message: bytes, data: st.DataObject
) -> None:
    digest = data.draw(st.sampled_from(["sha1", "sha256", "sha384", "sha512"]))
    right = hmac.digest(key, message, getattr(hashlib, digest)).hex().encode()
    assert HmacKey(digest, key, "hex", b"p=").sign(message) == b"p=" + right
