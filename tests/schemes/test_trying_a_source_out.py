"""A test event has the provider's form; a wrong signature is explained to who must repair it."""

from __future__ import annotations

import json

import pytest

from apps.sources.schemes import (
    SCHEMES,
    SignatureRefused,
    build_verifier,
    explain,
    sample_event,
    sign,
)
from apps.sources.schemes.providers import PROVIDERS
from tests.schemes.requests import NOW, URL, request_with, signed_request

TEXT = {"text": "Where is my card?"}
SECRETS = {"basic_auth": "user:password"}


@pytest.mark.parametrize("slug", [slug for slug, info in SCHEMES.items() if info.can_sign])
def test_a_sample_event_is_accepted(slug: str) -> None:
    secret = SECRETS.get(PROVIDERS[slug].family.name, "whsec_c2VjcmV0")
    if slug == "finch":
        secret = "c2VjcmV0"
    kind, body = sample_event(slug, {}, TEXT, NOW, "id-1", "kind.1")
    headers = {"Content-Type": kind} | sign(slug, {}, secret, body, NOW, "id-1", "kind.1", url=URL)
    verified = build_verifier(slug, {}, [secret]).verify(request_with(headers, body))
    assert verified.secret_index == 0


@pytest.mark.parametrize(
    "slug", ["standard-webhooks", "stripe", "github", "front", "mux", "sentry"]
)
def test_a_sample_event_has_its_id_and_type_where_the_provider_has_them(slug: str) -> None:
    _, body = sample_event(slug, {}, TEXT, NOW, "id-1", "kind.1")
    headers = sign(slug, {}, "c2VjcmV0", body, NOW, "id-1", "kind.1")
    verified = build_verifier(slug, {}, ["c2VjcmV0"]).verify(request_with(headers, body))
    assert (verified.event_id, verified.event_type) == ("id-1", "kind.1")
    assert json.loads(body)["text"] == TEXT["text"]


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
