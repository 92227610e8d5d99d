"""Adyen: each item of the body carries a signature over eight of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.body import read_body
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.keys import Key, make_key
from apps.sources.schemes.options import Options

_BEFORE_AMOUNT = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
_AFTER_AMOUNT = ("eventCode", "success")
HEADER = b"hmacsignature"
MAX_ITEMS = 10
"""Adyen sends one; every one of them costs an HMAC for each secret."""


class AdyenVerifier(Verifier):
    """Standard webhooks are signed field by field, the newer ones over the raw body."""

    def __init__(self, setup: Setup) -> None:
        self._keys = [_key(secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        signed = _signed_parts(request)
        for index, key in enumerate(self._keys):
            if _all_match(key, signed):
                return self._labels.verified(request, index)
        raise BadSignature("The signature matches none of the active secrets.")


def _key(secret: str) -> Key:
    return make_key("hmac-sha256", "hex", "base64", b"", secret)


def _all_match(key: Key, signed: list[tuple[bytes, bytes]]) -> bool:
    return all(key.matches(message, [signature]) for message, signature in signed)


def _signed_parts(request: Request) -> list[tuple[bytes, bytes]]:
    """[(message, signature)], never empty."""
    document = read_body(request)
    items = document.get("notificationItems") if isinstance(document, dict) else None
    if items is None:
        given = request.headers.get(HEADER)
        if not given:
            raise MissingSignature("Neither the body nor a header holds a signature.")
        return [(request.body, given)]
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ITEMS:
        raise MalformedSignature("The body holds no list of items.")
    return [_signed_item(item) for item in items]


def _signed_item(item: Any) -> tuple[bytes, bytes]:
    fields = _mapping(_mapping(item).get("NotificationRequestItem"))
    signature = _mapping(fields.get("additionalData", {})).get("hmacSignature")
    if not isinstance(signature, str) or not signature:
        raise MissingSignature("An item of the body holds no signature.")
    amount = _mapping(fields.get("amount", {}))
    values = [
        *(fields.get(name) for name in _BEFORE_AMOUNT),
        amount.get("value"),
        amount.get("currency"),
        *(fields.get(name) for name in _AFTER_AMOUNT),
    ]
    # A colon or a backslash inside a value is not escaped any more.
    message = ":".join("" if value is None else str(value) for value in values)
    return message.encode("utf-8", "surrogatepass"), signature.encode("utf-8", "surrogatepass")


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedSignature("An item of the body has not the expected form.")
    return value


def fill(options: Options, event: Outgoing, body: dict[str, Any]) -> dict[str, Any]:
    """A body with one signed item, of the event's id and type."""
    fields: dict[str, Any] = {
        "pspReference": event.event_id,
        "merchantAccountCode": "test",
        "merchantReference": "test",
        "amount": {"value": 100, "currency": "EUR"},
        "eventCode": event.event_type,
        "success": "true",
    }
    # Signed by the code that verifies: the placeholder is not part of the signed bytes.
    message, _ = _signed_item(_item(fields | {"additionalData": {"hmacSignature": "?"}}))
    signature = _key(event.secret).sign(message).decode("ascii")
    items = [_item(fields | {"additionalData": {"hmacSignature": signature}})]
    return body | {"live": "false", "notificationItems": items}


def _item(fields: dict[str, Any]) -> dict[str, Any]:
    return {"NotificationRequestItem": fields}


FAMILY = Family("adyen", (), AdyenVerifier, fill=fill)
