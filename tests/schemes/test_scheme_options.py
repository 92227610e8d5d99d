"""A wrong option or secret is named, in words for the form."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from apps.sources.schemes import WrongOptions, build_verifier, sign


def wrong(
    scheme: str, options: Mapping[str, object], secrets: list[str] | None = None
) -> WrongOptions:
    with pytest.raises(WrongOptions) as raised:
        build_verifier(scheme, options, secrets or [])
    return raised.value


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"header": ""}, "header"),
        ({"header": "X Signature"}, "header"),
        ({"header": 7}, "header"),
        ({"algorithm": "md5"}, "algorithm"),
        ({"encoding": "base32"}, "encoding"),
        ({"signed": "{timestamp}"}, "signed"),
        ({"signed": "{timestamp}.{body}"}, "signed"),
        ({"signed": "{id}.{body}"}, "signed"),
        ({"signed": "{nonsense}{body}"}, "signed"),
        ({"timestamp_header": "X-Time"}, "signed"),
        ({"tolerance_s": "soon"}, "tolerance_s"),
        ({"tolerance_s": -1}, "tolerance_s"),
        ({"tolerance_s": True}, "tolerance_s"),
        ({"event_id_path": "a..b"}, "event_id_path"),
        ({"event_type_header": "a:b"}, "event_type_header"),
        ({"required_headers": "X-Key"}, "required_headers"),
        ({"heder": "X-Signature"}, "heder"),
    ],
)
def test_the_wrong_option_is_named(options: dict[str, object], field: str) -> None:
    error = wrong("hmac", options)
    assert error.field == field
    assert error.message.endswith((".", "…"))


@pytest.mark.parametrize(
    ("form", "secret"),
    [("hex", "abc"), ("hex", "zz"), ("base64", "a*b="), ("whsec", "whsec_"), ("text", "")],
)
def test_a_secret_in_the_wrong_form_is_named_and_not_repeated(form: str, secret: str) -> None:
    error = wrong("hmac", {"key_form": form}, ["c2VjcmV0" if form != "hex" else "00", secret])
    assert error.field == "secrets"
    assert not secret or secret not in error.message.replace("whsec_ and", "")


@pytest.mark.parametrize("secret", ["user", "user:", ":password", ""])
def test_basic_authentication_needs_user_and_password(secret: str) -> None:
    assert wrong("basic-auth", {}, [secret]).field == "secrets"


def test_an_unknown_scheme_is_named() -> None:
    assert wrong("nonsense", {}).field == "scheme"


def test_a_providers_fixed_option_cannot_be_set() -> None:
    assert wrong("github", {"header": "X-Mine"}).field == "header"


def test_a_number_may_come_as_the_text_of_a_form() -> None:
    build_verifier("stripe", {"tolerance_s": "60"}, ["secret"])
    build_verifier("stripe", {"tolerance_s": ""}, ["secret"])


def test_a_scheme_that_only_its_provider_can_sign_says_so() -> None:
    with pytest.raises(WrongOptions):
        sign("aws-sns", {"topic_arn": "arn"}, "", b"", 0, "", "")
