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
from tests.schemes.requests import signed_request

TEXT_SECRETS = st.text(min_size=1, max_size=80).filter(str.isprintable)
WHSEC_SECRETS = st.binary(min_size=1, max_size=80).map(
    lambda raw: "whsec_" + base64.b64encode(raw).decode()
)
BODIES = st.binary(max_size=600)
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
PROPERTY = settings(deadline=None)  # the machine may be busy
EACH = pytest.mark.parametrize("scheme", SECRETS)


def is_refused(verifier: Verifier, request: Request) -> bool:
    try:
        verifier.verify(request)
    except SignatureRefused:
        return True
    return False


def change_byte(data: st.DataObject, text: bytes) -> bytes:
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[place]))
    return text[:place] + bytes([byte]) + text[place + 1 :]


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
    secret, body = data.draw(SECRETS[scheme]), data.draw(BODIES.filter(bool))
    request = signed_request(scheme, secret, body=body)
    changed = replace(request, body=change_byte(data, body))
    assert is_refused(build_verifier(scheme, {}, [secret]), changed)


@EACH
@PROPERTY
@given(data=st.data())
def test_a_changed_byte_of_signature_timestamp_or_id_is_refused(
    scheme: str, data: st.DataObject
) -> None:
    secret = data.draw(SECRETS[scheme])
    request = signed_request(scheme, secret)
    name = data.draw(st.sampled_from(SIGNED_HEADERS[scheme])).encode()
    changed = change_byte(data, request.headers[name])
    headers = {**request.headers, name: changed}
    assert is_refused(build_verifier(scheme, {}, [secret]), replace(request, headers=headers))


@PROPERTY
@given(key=st.binary(min_size=1, max_size=300), message=st.binary(max_size=300), data=st.data())
def test_the_kept_hash_states_give_the_hmac_of_the_standard_library(
    key: bytes, message: bytes, data: st.DataObject
) -> None:
    digest = data.draw(st.sampled_from(["sha1", "sha256", "sha384", "sha512"]))
    right = hmac.digest(key, message, getattr(hashlib, digest)).hex().encode()
    assert HmacKey(digest, key, "hex", b"p=").sign(message) == b"p=" + right
