"""Properties: what was signed round-trips, and no single changed byte goes unnoticed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import SCHEMES, Request, SignatureRefused, Verifier, build_verifier
from apps.sources.schemes.keys import HmacKey
from apps.sources.schemes.providers import PROVIDERS
from tests.schemes.requests import signed_request, with_header

TEXT_SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
ASCII_SECRETS = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1)
WHSEC_SECRETS = st.binary(min_size=1, max_size=80).map(
    lambda raw: "whsec_" + base64.b64encode(raw).decode()
)
PASSWORDS = TEXT_SECRETS.map(lambda text: f"user:{text}")
BODIES = st.binary(max_size=100)
MASKS = st.integers(1, 255)

SIGNING = [slug for slug, info in SCHEMES.items() if info.can_sign and PROVIDERS[slug].family.sign]
# These only say who sends; nothing of the body is signed. Forms are signed as parameters.
WITHOUT_BODY = {"token", "basic_auth", "twilio"}
BODY_UNSIGNED = {"monday", "gitlab", "mandrill", "jwt"}
BODY_SIGNED = [
    slug
    for slug in SIGNING
    if slug not in BODY_UNSIGNED and PROVIDERS[slug].family.name not in WITHOUT_BODY
]
# Linear's time stands in the body, which is random here.
OPTIONS: dict[str, dict[str, object]] = {"linear": {"tolerance_s": None}}
PROPERTY = settings(deadline=None, max_examples=8)  # for each of some eighty providers


def secrets_of(slug: str) -> st.SearchStrategy[str]:
    fields = {field.name: field.default for field in PROVIDERS[slug].fields}
    if fields.get("key_form") == "whsec":
        return WHSEC_SECRETS
    kind = PROVIDERS[slug].family.name
    return {"basic_auth": PASSWORDS, "token": ASCII_SECRETS, "gitlab": ASCII_SECRETS}.get(
        kind, TEXT_SECRETS
    )


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


def signed_headers(slug: str, request: Request) -> Iterator[str]:
    """All that was sent, but for those labels of the event which the provider does not sign."""
    fields = {field.name: str(field.default) for field in PROVIDERS[slug].fields}
    labels = f"{fields['event_type_header']},{fields['event_id_header']}"
    signed = f"{fields.get('timestamp_header')},{fields.get('id_header')}"
    unsigned = {"content-type", *lower_names(labels)} - lower_names(signed)
    return (name.decode() for name in request.headers if name.decode() not in unsigned)


def lower_names(names: str) -> set[str]:
    return {name.strip().lower() for name in names.split(",")}


def is_same_to_the_provider(slug: str, header: bytes, changed: bytes) -> bool:
    """Notion's hex and the word Basic may be in either case."""
    case_counts = slug != "notion" and not header.startswith(b"Basic ")
    return not case_counts and changed.lower() == header.lower()


@pytest.mark.parametrize("slug", SIGNING)
@PROPERTY
@given(data=st.data())
def test_what_was_signed_is_accepted(slug: str, data: st.DataObject) -> None:
    secret = data.draw(secrets_of(slug))
    body = data.draw(BODIES) if slug in BODY_SIGNED else b"a=1&b=2"
    verifier = build_verifier(slug, OPTIONS.get(slug, {}), [secret])
    verified = verifier.verify(signed_request(slug, secret, body=body))
    assert verified.secret_index == 0


@pytest.mark.parametrize("slug", BODY_SIGNED)
@PROPERTY
@given(data=st.data())
def test_a_changed_byte_of_the_body_is_refused(slug: str, data: st.DataObject) -> None:
    secret, body = data.draw(secrets_of(slug)), data.draw(BODIES)
    request = signed_request(slug, secret, body=body)
    verifier = build_verifier(slug, OPTIONS.get(slug, {}), [secret])
    for changed in changes(body, data.draw(MASKS)):
        assert is_refused(verifier, replace(request, body=changed))


@pytest.mark.parametrize("slug", SIGNING)
@PROPERTY
@given(data=st.data())
def test_a_changed_byte_of_signature_timestamp_or_signed_id_is_refused(
    slug: str, data: st.DataObject
) -> None:
    secret, mask = data.draw(secrets_of(slug)), data.draw(MASKS)
    request = signed_request(slug, secret)
    verifier = build_verifier(slug, OPTIONS.get(slug, {}), [secret])
    for name in signed_headers(slug, request):
        sent = request.headers[name.encode()]
        for changed in changes(sent, mask):
            accepted = not is_refused(verifier, with_header(request, name, changed))
            assert not accepted or is_same_to_the_provider(slug, sent, changed)


@PROPERTY
@given(key=st.binary(min_size=1, max_size=300), message=st.binary(max_size=300))
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_the_kept_hash_states_give_the_hmac_of_the_standard_library(
    digest: str, key: bytes, message: bytes
) -> None:
    right = hmac.digest(key, message, getattr(hashlib, digest)).hex().encode()
    assert HmacKey(digest, key, "hex", b"p=").sign(message) == b"p=" + right
