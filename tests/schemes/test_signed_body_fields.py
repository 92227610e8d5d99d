"""Mailgun and Adyen sign a few fields of the body; nothing else of it is proven."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from apps.sources.schemes import SignatureRefused, Verified, build_verifier
from tests.schemes.requests import NOW, request_with

ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"


def mailgun_body(**changes: str) -> bytes:
    block = {"timestamp": "1700000000", "token": "a-token"}
    signed = (block["timestamp"] + block["token"]).encode()
    block["signature"] = hmac.digest(b"key", signed, "sha256").hex()
    return json.dumps({"signature": block | changes, "event-data": {"event": "opened"}}).encode()


def mailgun(body: bytes, now: float = NOW, kind: str = "application/json") -> Verified:
    request = request_with({"Content-Type": kind}, body, now)
    return build_verifier("mailgun", {}, ["key"]).verify(request)


def test_mailguns_token_is_the_events_id() -> None:
    assert mailgun(mailgun_body()) == Verified(0, "a-token", "opened")


def test_mailguns_older_form_is_taken_too() -> None:
    signature = hmac.digest(b"key", b"1700000000a-token", "sha256").hex()
    body = f"event=opened&timestamp=1700000000&token=a-token&signature={signature}".encode()
    kind = "application/x-www-form-urlencoded"
    assert mailgun(body, kind=kind) == Verified(0, "a-token", "opened")


@pytest.mark.parametrize(
    "changes", [{"token": "b-token"}, {"timestamp": "1700000001"}, {"signature": ""}]
)
def test_mailguns_signed_fields_count(changes: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        mailgun(mailgun_body(**changes))


def test_a_mailgun_event_of_an_hour_ago_is_refused() -> None:
    with pytest.raises(SignatureRefused) as refused:
        mailgun(mailgun_body(), now=NOW + 3600)
    assert refused.value.code == "stale_timestamp"


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"signature": {"token": 1.5}}'])
def test_a_body_without_the_fields_is_refused(body: bytes) -> None:
    for scheme, secret in (("mailgun", "key"), ("adyen", ADYEN_KEY)):
        with pytest.raises(SignatureRefused):
            build_verifier(scheme, {}, [secret]).verify(request_with({}, body))


def adyen_item(reference: str, **changes: Any) -> dict[str, Any]:
    signed = f"{reference}::Shop:order-1:1130:EUR:AUTHORISATION:true"
    signature = hmac.digest(bytes.fromhex(ADYEN_KEY), signed.encode(), "sha256")
    item = {
        "additionalData": {"hmacSignature": base64.b64encode(signature).decode()},
        "pspReference": reference,
        "merchantAccountCode": "Shop",
        "merchantReference": "order-1",
        "amount": {"value": 1130, "currency": "EUR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
    }
    return {"NotificationRequestItem": item | changes}


def adyen(*items: dict[str, Any]) -> Verified:
    body = json.dumps({"live": "false", "notificationItems": items}).encode()
    return build_verifier("adyen", {}, [ADYEN_KEY]).verify(request_with({}, body))


def test_adyens_item_tells_id_and_type() -> None:
    assert adyen(adyen_item("PSP1")) == Verified(0, "PSP1-AUTHORISATION-true", "AUTHORISATION")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": {"value": 1, "currency": "EUR"}},
        {"success": "false"},
        {"pspReference": "PSP2"},
        {"additionalData": {}},
    ],
)
def test_adyens_signed_fields_count(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureRefused):
        adyen(adyen_item("PSP1", **changes))


def test_every_item_of_adyen_has_to_be_right() -> None:
    adyen(adyen_item("PSP1"), adyen_item("PSP2"))
    with pytest.raises(SignatureRefused):
        adyen(adyen_item("PSP1"), adyen_item("PSP2", success="false"))


DROPBOX_SIGN = {
    "event": {"event_time": "1700000000", "event_type": "signature_request_signed"},
    "signature_request": {"signature_request_id": "fa5c8a0b"},
}


def dropbox_sign_form(document: dict[str, Any], *names: str, more: str = "") -> bytes:
    parts = [
        f'--xYz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{json.dumps(document)}\r\n'
        for name in names
    ]
    return ("".join(parts) + more + "--xYz--\r\n").encode()


def dropbox_sign_event(**changes: str) -> dict[str, Any]:
    right = hmac.digest(b"key", b"1700000000signature_request_signed", "sha256").hex()
    return DROPBOX_SIGN | {"event": {**DROPBOX_SIGN["event"], "event_hash": right} | changes}


def dropbox_sign(body: bytes, kind: str = 'multipart/form-data; boundary="xYz"') -> Verified:
    verifier = build_verifier("dropbox-sign", {}, ["key"])
    return verifier.verify(request_with({"Content-Type": kind}, body))


def test_dropbox_signs_event_stands_in_a_field_of_a_form() -> None:
    event = dropbox_sign_event()
    verified = dropbox_sign(dropbox_sign_form(event, "json"))
    assert verified.event_type == "signature_request_signed"
    assert verified.event_id == event["event"]["event_hash"] + "-fa5c8a0b"
    other = dropbox_sign_form(event, "json", more='--xYz\r\nX: y; name="json"\r\n\r\n{}\r\n')
    assert dropbox_sign(other) == verified


@pytest.mark.parametrize("name", ["event_time", "event_type", "event_hash"])
def test_dropbox_signs_signed_fields_count(name: str) -> None:
    with pytest.raises(SignatureRefused):
        dropbox_sign(dropbox_sign_form(dropbox_sign_event(**{name: "1700000001"}), "json"))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["json", "json"], "multipart/form-data; boundary=xYz"),
        (["other"], "multipart/form-data; boundary=xYz"),
        (["json"], "multipart/form-data; boundary=other"),
        (["json"], "multipart/form-data"),
        (["x"] * 30 + ["json"], "multipart/form-data; boundary=xYz"),
        (["json"], "application/json"),
    ],
)
def test_a_form_of_another_shape_is_refused(names: list[str], kind: str) -> None:
    with pytest.raises(SignatureRefused):
        dropbox_sign(dropbox_sign_form(dropbox_sign_event(), *names), kind)
