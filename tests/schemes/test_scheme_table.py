"""The table of providers is whole: each row can be built, shown and used."""

from __future__ import annotations

import pytest

from apps.sources.schemes import SCHEMES, build_verifier
from apps.sources.schemes.challenges import CHALLENGES
from apps.sources.schemes.providers import PROVIDERS
from tests.schemes.vectors import load_vectors, slug_of

GENERAL = {"hmac", "hmac-body", "api-key", "basic-auth", "url-token", "body-token", "jwt"}
EACH = pytest.mark.parametrize("slug", SCHEMES)


@EACH
def test_a_row_can_be_built(slug: str) -> None:
    options = {"topic_arn": "arn:aws:sns:x"} if slug == "aws-sns" else {}
    verifier = build_verifier(slug, options, [])
    assert SCHEMES[slug].has_handshake == (verifier.challenge is not None)


@EACH
def test_a_row_tells_the_admin_what_to_do(slug: str) -> None:
    info = SCHEMES[slug]
    assert info.label
    assert info.paste_help.endswith((".", "…"))
    assert info.secret_help
    assert info.docs_url.startswith("https://") or slug in GENERAL
    assert info.default_options.keys() == {field.name for field in info.fields}


@EACH
def test_what_the_form_shows_can_be_stored_as_it_is(slug: str) -> None:
    info = SCHEMES[slug]
    options = dict(info.default_options)
    if slug == "aws-sns":
        options["topic_arn"] = "arn:aws:sns:x"
    build_verifier(slug, options, [])


def test_every_challenge_is_used() -> None:
    assert {row.challenge for row in PROVIDERS.values() if row.challenge} == set(CHALLENGES)


def test_labels_are_unique() -> None:
    labels = [info.label for info in SCHEMES.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.shared_data
def test_every_provider_with_vectors_has_a_row() -> None:
    assert {slug_of(vector) for vector in load_vectors()} <= set(SCHEMES)
