"""Hook0: the signature header names further headers whose values are signed too."""

from __future__ import annotations

from collections.abc import Mapping

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.keys import make_key
from apps.sources.schemes.options import OptionField, Options
from apps.sources.schemes.stamp import TOLERANCE_FIELD
from apps.sources.schemes.timestamps import Window

FIELDS = (OptionField("header", "Signature header"), TOLERANCE_FIELD)
MAX_PARTS = 8


class Hook0Verifier(Verifier):
    """t=…,h=a b,v1=… signs the named headers too; t=…,v0=… only the body."""

    def __init__(self, setup: Setup) -> None:
        tolerance_s = setup.options.number("tolerance_s")
        self._window = None if tolerance_s is None else Window("seconds", tolerance_s)
        (self._header,) = setup.options.headers("header")
        self._keys = [
            make_key("hmac-sha256", "text", "hex", b"", secret) for secret in setup.secrets
        ]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        parts = _parts(request.headers.get(self._header, b""))
        if self._window:
            self._window.check(parts[b"t"], request.now)
        # Where the stronger v1 is offered, only it counts: falling back to v0 when it is wrong
        # would let anyone strip the signed headers.
        if b"v1" in parts:
            message = _header_message(parts, request)
            signature = parts[b"v1"]
        else:
            message, signature = b"%b.%b" % (parts[b"t"], request.body), parts[b"v0"]
        for index, key in enumerate(self._keys):
            if key.matches(message, [signature]):
                return self._labels.verified(request, index)
        raise BadSignature("The signature matches none of the active secrets.")


def _parts(header: bytes) -> Mapping[bytes, bytes]:
    if not header:
        raise MissingSignature("The signature header is missing or empty.")
    entries = [entry.strip().partition(b"=") for entry in header.split(b",")]
    parts = {name: value for name, _, value in entries}
    if len(entries) > MAX_PARTS or len(parts) < len(entries):
        raise MalformedSignature("The signature header repeats a part or has too many.")
    if b"t" not in parts or not parts.keys() & {b"v0", b"v1"}:
        raise MalformedSignature("The signature header holds no time or no signature.")
    return parts


def _header_message(parts: Mapping[bytes, bytes], request: Request) -> bytes:
    names = parts.get(b"h", b"").split()
    values = [request.headers.get(name.lower()) for name in names]
    present = [value for value in values if value is not None]
    if len(present) < len(names):
        raise MissingSignature("A header that the signature covers is missing.")
    return b".".join((parts[b"t"], parts.get(b"h", b""), b".".join(present), request.body))


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    stamp = str(int(event.now))
    key = make_key("hmac-sha256", "text", "hex", b"", event.secret)
    message = f"{stamp}.x-event-id.{event.event_id}.".encode() + event.body
    signature = key.sign(message).decode()
    return {
        options.first_header("header"): f"t={stamp},h=x-event-id,v1={signature}",
        "x-event-id": event.event_id,
    }


FAMILY = Family("hook0", FIELDS, Hook0Verifier, sign)
