"""Every scheme of the table fails closed, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from apps.sources.schemes import (
    SCHEMES,
    Request,
    SignatureRefused,
    Verifier,
    build_verifier,
    make_secret,
)
from apps.sources.schemes.base import UNREAD
from apps.sources.schemes.providers import PROVIDERS
from tests.schemes.key_pairs import PROVIDERS_ALGORITHM, private_pem, public_pem
from tests.schemes.requests import NOW, URL, request_with, sampled, with_header, without_header

CERTIFICATES = {"aws-sns", "paypal"}
OPTIONS: dict[str, dict[str, object]] = {"aws-sns": {"topic_arn": "arn:aws:sns:x"}}
SAMPLED = [slug for slug in SCHEMES if slug not in CERTIFICATES]
# Whose secret stands in a header, the URL or the body, and in no other place.
WITHOUT_HEADER = {
    slug
    for slug in SAMPLED
    if PROVIDERS[slug].family.fill or dict(SCHEMES[slug].default_options).get("parameter")
}
EMPTY = [
    request_with({}, b""),
    request_with({}, b"{}"),
    request_with({"Authorization": ""}, b"[]"),
    request_with({"Content-Type": "application/x-www-form-urlencoded"}, b""),
    Request("GET", URL, {}, b"", NOW),
]


def keys_of(slug: str) -> tuple[str, str]:
    """(what the source holds, what the provider signs with)"""
    if algorithm := PROVIDERS_ALGORITHM.get(slug):
        return public_pem(algorithm), private_pem(algorithm)
    secret = make_secret(slug)
    return secret, secret


def code_of(verifier: Verifier, request: Request) -> str:
    """'' where it is accepted."""
    try:
        verifier.verify(replace(request, document=UNREAD))
    except SignatureRefused as refused:
        return refused.code
    return ""


@pytest.mark.parametrize("slug", [slug for slug in SCHEMES if SCHEMES[slug].needs_secret])
def test_without_a_secret_nothing_is_accepted(slug: str) -> None:
    verifier = build_verifier(slug, OPTIONS.get(slug, {}), [])
    signed = [] if slug in CERTIFICATES else [sampled(slug, keys_of(slug)[1])]
    assert {code_of(verifier, request) for request in [*EMPTY, *signed]} == {"no_secret"}


@pytest.mark.parametrize("slug", SCHEMES)
def test_an_empty_request_is_refused(slug: str) -> None:
    secrets = ["id"] if slug in CERTIFICATES else [keys_of(slug)[0]]
    verifier = build_verifier(slug, OPTIONS.get(slug, {}), secrets)
    assert "" not in {code_of(verifier, request) for request in EMPTY}


@pytest.mark.parametrize("slug", SAMPLED)
def test_what_another_secret_signed_is_refused(slug: str) -> None:
    ours, theirs = keys_of(slug)
    assert code_of(build_verifier(slug, {}, [ours]), sampled(slug, theirs)) == ""
    if slug not in PROVIDERS_ALGORITHM:
        others = [make_secret(slug), make_secret(slug)]
        assert code_of(build_verifier(slug, {}, others), sampled(slug, theirs)) == "bad_signature"


@pytest.mark.parametrize("slug", sorted(set(SAMPLED) - WITHOUT_HEADER))
def test_a_signature_that_is_missing_empty_short_long_or_only_a_prefix_is_refused(
    slug: str,
) -> None:
    ours, theirs = keys_of(slug)
    verifier, request = build_verifier(slug, {}, [ours]), sampled(slug, theirs)
    headers = [
        name
        for name in request.headers
        if name != b"content-type" and code_of(verifier, without_header(request, name.decode()))
    ]
    assert headers
    for name in headers:
        for changed in other_shapes(request.headers[name]):
            assert code_of(verifier, with_header(request, name.decode(), changed))


def other_shapes(sent: bytes) -> Iterator[bytes]:
    yield b""
    yield sent[:-1]
    yield sent[: len(sent) // 2]
    yield sent + b"0"
    for sign in (b"=", b",", b" ", b"|"):
        if sign in sent.rstrip(b"="):
            yield sent[: sent.rstrip(b"=").rindex(sign) + 1]
    yield b"\xff\x00"


@pytest.mark.parametrize("slug", [slug for slug in SAMPLED if SCHEMES[slug].needs_secret])
def test_an_empty_secret_is_never_taken(slug: str) -> None:
    with pytest.raises(ValueError, match="secrets"):
        build_verifier(slug, {}, [""])
