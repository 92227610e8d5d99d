"""Whatever does not prove that its sender knows an active secret is refused, with its reason."""

from __future__ import annotations

import base64
import hmac

import pytest

from apps.sources.schemes import SignatureRefused, build_verifier
from tests.schemes.requests import (
    BODY,
    NOW,
    request_with,
    signed_request,
    with_header,
    without_header,
)

SIX = {
    "standard-webhooks": ("whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw==", "webhook-signature"),
    "github": ("a secret", "X-Hub-Signature-256"),
    "stripe": ("whsec_as_text", "Stripe-Signature"),
    "slack": ("8f742231b10e8888", "X-Slack-Signature"),
    "shopify": ("shpss_1", "X-Shopify-Hmac-Sha256"),
    "hmac": ("a secret", "X-Signature"),
}
EACH = pytest.mark.parametrize("scheme", SIX)


def refusal(scheme: str, secrets: list[str], request_change: str = "", value: bytes = b"") -> str:
    """The code with which a request signed by the scheme's secret is refused."""
    secret, _ = SIX[scheme]
    request = signed_request(scheme, secret)
    if request_change:
        request = with_header(request, request_change, value)
    with pytest.raises(SignatureRefused) as refused:
        build_verifier(scheme, {}, secrets).verify(request)
    assert secret not in refused.value.detail
    return refused.value.code


@EACH
def test_it_takes_what_it_signs(scheme: str) -> None:
    secret, _ = SIX[scheme]
    verified = build_verifier(scheme, {}, ["b3RoZXI=", secret]).verify(
        signed_request(scheme, secret)
    )
    assert verified.secret_index == 1


@EACH
def test_a_source_without_a_secret_accepts_nothing(scheme: str) -> None:
    assert refusal(scheme, []) == "no_secret"


@EACH
def test_another_secret_is_refused(scheme: str) -> None:
    assert refusal(scheme, ["b3RoZXI=", "b3RoZXIy"]) == "bad_signature"


@EACH
def test_a_missing_signature_is_refused(scheme: str) -> None:
    secret, header = SIX[scheme]
    request = without_header(signed_request(scheme, secret), header)
    with pytest.raises(SignatureRefused) as refused:
        build_verifier(scheme, {}, [secret]).verify(request)
    assert refused.value.code == "missing_signature"


@EACH
def test_an_empty_signature_is_refused(scheme: str) -> None:
    secret, header = SIX[scheme]
    assert refusal(scheme, [secret], header, b"") == "missing_signature"


@EACH
@pytest.mark.parametrize("change", ["short", "long", "prefix only", "upper", "no text"])
def test_a_signature_of_another_shape_is_refused(scheme: str, change: str) -> None:
    secret, header = SIX[scheme]
    right = signed_request(scheme, secret).headers[header.lower().encode()]
    cut = max(right.rfind(b"="), right.rfind(b",")) + 1
    shapes = {
        "short": right[:-4] if not right.endswith(b"=") else right[:-5],
        "long": right + b"00",
        "prefix only": right[:cut] if not right.endswith(b"=") else b"v1,",
        "upper": right.upper(),
        "no text": b"\xff\x00\xfe",
    }
    code = refusal(scheme, [secret], header, shapes[change])
    assert code in {"bad_signature", "malformed_signature", "missing_signature"}


@EACH
def test_a_secret_that_is_empty_is_not_a_secret(scheme: str) -> None:
    with pytest.raises(ValueError, match="secrets"):
        build_verifier(scheme, {}, [""])


def test_several_signatures_in_one_header_need_one_to_match() -> None:
    secret, header = SIX["standard-webhooks"]
    request = signed_request("standard-webhooks", secret)
    right = request.headers[header.encode()]
    listed = with_header(request, header, b"v1,AAAA v2,BBBB " + right + b" v1,CCCC")
    assert build_verifier("standard-webhooks", {}, [secret]).verify(listed).secret_index == 0


def test_the_right_value_under_another_version_is_refused() -> None:
    secret, header = SIX["standard-webhooks"]
    right = signed_request("standard-webhooks", secret).headers[header.encode()]
    assert refusal("standard-webhooks", [secret], header, right.replace(b"v1,", b"v2,")) == (
        "malformed_signature"
    )


def test_a_header_full_of_signatures_is_not_worked_through() -> None:
    secret, header = SIX["standard-webhooks"]
    right = signed_request("standard-webhooks", secret).headers[header.encode()]
    crowd = b" ".join([b"v1,AAAA"] * 50 + [right])
    assert refusal("standard-webhooks", [secret], header, crowd) == "malformed_signature"


@pytest.mark.parametrize(
    "stamp", [b"hello", b"-1", b" 1700000000", b"1_700_000_000", b"1700000000.0", b"9" * 40]
)
def test_a_timestamp_that_is_no_time_is_refused(stamp: bytes) -> None:
    secret, _ = SIX["standard-webhooks"]
    assert refusal("standard-webhooks", [secret], "webhook-timestamp", stamp) == (
        "malformed_signature"
    )


def test_the_details_say_what_to_do_and_nothing_secret() -> None:
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("github", {}, ["one", "two"]).verify(
            request_with({"X-Hub-Signature-256": "sha256=" + "0" * 64}, BODY, NOW)
        )
    assert refused.value.detail == "The signature does not match any of 2 active secrets."


@pytest.mark.parametrize("headers", [{}, {"webhook-id": ""}])
def test_a_signed_header_has_to_be_there(headers: dict[str, str]) -> None:
    # Signed by someone who knows the secret, but over an id that is not sent.
    signature = hmac.digest(b"secret", b".1700000000." + BODY, "sha256")
    sent = {
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    verifier = build_verifier("standard-webhooks", {}, ["whsec_c2VjcmV0"])
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(request_with(sent | headers))
    assert refused.value.code == "missing_signature"


def test_hook0_does_not_sign_over_a_header_that_is_absent() -> None:
    message = b"1700000000.x-event-id x-absent.e1." + BODY
    signature = hmac.digest(b"secret", message, "sha256").hex()
    headers = {
        "X-Hook0-Signature": f"t=1700000000,h=x-event-id x-absent,v1={signature}",
        "x-event-id": "e1",
    }
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("hook0", {}, ["secret"]).verify(request_with(headers))
    assert refused.value.code == "missing_signature"
