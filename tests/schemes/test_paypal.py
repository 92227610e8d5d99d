"""PayPal: certificate, webhook id, headers and body have to be right, each of them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import (
    CertificateUnavailable,
    Request,
    SignatureRefused,
    Verified,
    Verifier,
    build_verifier,
)
from tests.fixtures.fake_amazon import (
    PAYPAL_HOST,
    PAYPAL_PATH,
    key_and_certificate,
    sign_as_paypal,
)
from tests.schemes.requests import request_with, with_header, without_header

WEBHOOK_ID = "9XL90610J3647323C"
CERTIFICATE_URL = f"https://{PAYPAL_HOST}{PAYPAL_PATH}"
BODY = b'{"id":"WH-9UG43882HX7271132","event_type":"PAYMENT.SALE.COMPLETED","amount":"21.00"}'
HEADERS = ("id", "time", "sig")


def verifier(*webhook_ids: str) -> Verifier:
    known = {CERTIFICATE_URL: key_and_certificate()[1]}
    ids = webhook_ids or (WEBHOOK_ID,)
    return build_verifier("paypal", {}, ids, fetch_certificate=known.get)


def notification(webhook_id: str = WEBHOOK_ID) -> Request:
    return request_with(sign_as_paypal(webhook_id, BODY), BODY, time.time())


def code_of(request: Request, *webhook_ids: str) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verifier(*webhook_ids).verify(request)
    return refused.value.code


def test_a_notification_is_taken_with_its_id_and_type() -> None:
    right = Verified(0, "WH-9UG43882HX7271132", "PAYMENT.SALE.COMPLETED")
    assert verifier().verify(notification()) == right


def test_the_webhook_id_is_the_secret_and_several_may_be_active() -> None:
    assert verifier("other", WEBHOOK_ID).verify(notification()).secret_index == 1
    assert code_of(notification(), "other") == "bad_signature"
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("paypal", {}, []).verify(notification())
    assert refused.value.code == "no_secret"


@settings(deadline=None, max_examples=20)
@given(body=st.binary(max_size=200), webhook_id=st.from_regex("[A-Z0-9]{1,50}", fullmatch=True))
def test_any_body_and_webhook_id_round_trips(body: bytes, webhook_id: str) -> None:
    request = request_with(sign_as_paypal(webhook_id, body), body, time.time())
    assert verifier(webhook_id).verify(request).secret_index == 0
    with pytest.raises(SignatureRefused):
        verifier(webhook_id).verify(replace(request, body=body + b" "))


def test_each_byte_of_body_and_headers_counts() -> None:
    request, known = notification(), verifier()
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        with pytest.raises(SignatureRefused):
            known.verify(replace(request, body=changed))
    for name in HEADERS:
        sent = request.headers[f"paypal-transmission-{name}".encode()]
        for at in range(len(sent)):
            changed = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
            with pytest.raises(SignatureRefused):
                known.verify(with_header(request, f"paypal-transmission-{name}", changed))


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_header_is_refused(name: str) -> None:
    name = f"paypal-transmission-{name}"
    assert code_of(without_header(notification(), name)) == "missing_signature"


@pytest.mark.parametrize("algorithm", [b"", b"SHA1withRSA", b"none"])
def test_another_algorithm_is_refused(algorithm: bytes) -> None:
    request = with_header(notification(), "paypal-auth-algo", algorithm)
    assert code_of(request) == "malformed_signature"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../../CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?x=y",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://apixpaypal.com/v1/notifications/certs/CERT-1",
    ],
)
def test_a_certificate_elsewhere_is_never_asked_for(url: str) -> None:
    asked: list[str] = []

    def fetch(address: str) -> bytes | None:
        asked.append(address)
        return key_and_certificate()[1]

    request = with_header(notification(), "paypal-cert-url", url.encode())
    known = build_verifier("paypal", {}, [WEBHOOK_ID], fetch_certificate=fetch)
    with pytest.raises(SignatureRefused) as refused:
        known.verify(request)
    assert refused.value.code == "untrusted_certificate"
    assert asked == []


@pytest.mark.parametrize("host", ["api.paypal.com", "api.sandbox.paypal.com", "api-m.paypal.com"])
def test_a_certificate_at_paypals_own_address_is_asked_for(host: str) -> None:
    url = f"https://{host}/v1/notifications/certs/CERT-1-a"
    request = with_header(notification(), "paypal-cert-url", url.encode())
    with pytest.raises(CertificateUnavailable) as unavailable:
        verifier().verify(request)
    assert unavailable.value.url == url


@pytest.mark.parametrize(("days", "code"), [(4, "stale_timestamp"), (-4, "future_timestamp")])
def test_a_notification_may_be_three_days_old_for_so_long_paypal_tries(
    days: int, code: str
) -> None:
    assert code_of(replace(notification(), now=time.time() + days * 86_400)) == code
    old = replace(notification(), now=time.time() + 3 * 86_400)
    assert verifier().verify(old).secret_index == 0
