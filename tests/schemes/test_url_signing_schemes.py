"""Twilio, Mandrill, Square, Trello, HubSpot: the URL counts, as the sender knows it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from apps.sources.schemes import Request, SignatureRefused, build_verifier
from tests.schemes.requests import URL, signed_request

FORM = b"To=%2B1555&Body=caf%C3%A9&Body=again&MessageSid=SM1&MessageStatus=sent"


def is_accepted(scheme: str, request: Request, options: dict[str, object] | None = None) -> bool:
    try:
        build_verifier(scheme, options or {}, ["secret"]).verify(request)
    except SignatureRefused:
        return False
    return True


@pytest.mark.parametrize("scheme", ["twilio", "mandrill", "square", "trello", "hubspot"])
def test_another_url_is_refused(scheme: str) -> None:
    request = signed_request(scheme, "secret", body=FORM)
    assert is_accepted(scheme, request)
    assert not is_accepted(scheme, replace(request, url=URL + "/"))


@pytest.mark.parametrize("scheme", ["twilio", "mandrill", "square", "trello", "hubspot"])
def test_a_proxy_may_change_the_url_where_the_source_knows_the_senders(scheme: str) -> None:
    request = replace(signed_request(scheme, "secret", body=FORM), url="http://10.0.0.1/hooks/x")
    assert not is_accepted(scheme, request)
    assert is_accepted(scheme, request, {"public_url": URL})


@pytest.mark.parametrize("scheme", ["twilio", "mandrill"])
@pytest.mark.parametrize(
    "body",
    [
        FORM.replace(b"sent", b"failed"),
        FORM + b"&Extra=1",
        FORM.replace(b"&Body=again", b""),
        FORM.replace(b"To", b"Tp"),
        FORM + b"&x=%ff",
    ],
)
def test_a_changed_parameter_is_refused(scheme: str, body: bytes) -> None:
    request = signed_request(scheme, "secret", body=FORM)
    assert not is_accepted(scheme, replace(request, body=body))


@pytest.mark.parametrize("scheme", ["twilio", "mandrill"])
def test_a_form_sent_as_something_else_is_refused(scheme: str) -> None:
    request = signed_request(scheme, "secret", body=FORM)
    headers = {**request.headers, b"content-type": b"application/json"}
    assert not is_accepted(scheme, replace(request, headers=headers))


def test_twilio_takes_a_json_body_whose_hash_the_url_carries() -> None:
    body = b'{"EventType": "onMessageAdded"}'
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signed = replace(signed_request("twilio", "secret", body=b"", options={"public_url": url}))
    headers = {**signed.headers, b"content-type": b"application/json"}
    request = Request("POST", url, headers, body, signed.now)
    assert is_accepted("twilio", request)
    assert not is_accepted("twilio", replace(request, body=body + b" "))
    assert not is_accepted("twilio", replace(request, url=URL))


def test_hubspot_does_not_fall_back_to_a_signature_without_a_time() -> None:
    request = signed_request("hubspot", "secret")
    old = hashlib.sha256(b"secret" + request.body).hexdigest().encode()
    headers = {
        b"x-hubspot-signature": old,
        b"x-hubspot-signature-version": b"v1",
    }
    assert is_accepted("hubspot", replace(request, headers=headers))
    headers[b"x-hubspot-signature-v3"] = b"wrong"
    assert not is_accepted("hubspot", replace(request, headers=headers))


def test_hubspot_v2_covers_method_and_url() -> None:
    request = signed_request("hubspot", "secret")
    signed = hashlib.sha256(b"secretPOST" + URL.encode() + request.body).hexdigest().encode()
    headers = {b"x-hubspot-signature": signed, b"x-hubspot-signature-version": b"v2"}
    assert is_accepted("hubspot", replace(request, headers=headers))
    assert not is_accepted("hubspot", replace(request, headers=headers, method="PUT"))
    assert not is_accepted("hubspot", replace(request, headers=headers, url=URL + "?a=1"))


def test_hubspot_v2_takes_the_url_that_the_source_knows() -> None:
    request = replace(signed_request("hubspot", "secret"), url="http://10.0.0.1/hooks/x")
    signed = hashlib.sha256(b"secretPOST" + URL.encode() + request.body).hexdigest().encode()
    headers = {b"x-hubspot-signature": signed, b"x-hubspot-signature-version": b"v2"}
    assert is_accepted("hubspot", replace(request, headers=headers), {"public_url": URL})


def test_a_form_that_cannot_be_read_without_loss_is_refused() -> None:
    # Read with replacement characters, %ff and %fe would be the same text, so one signature.
    signed = signed_request("twilio", "secret", body="x=\ufffd".encode())
    assert is_accepted("twilio", signed)
    assert not is_accepted("twilio", replace(signed, body=b"x=%ff"))
