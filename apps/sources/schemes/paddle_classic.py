"""Paddle Classic: a form whose fields, as PHP serialises them, are signed in one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.sources.schemes.asymmetric import PublicKey
from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.form import read_pairs
from apps.sources.schemes.options import Options

SIGNATURE = "p_signature"
# PHP would make something else than a field of this name out of any other.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class PaddleClassicVerifier(Verifier):
    def __init__(self, setup: Setup) -> None:
        self._keys = [_key(secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        fields = _fields(request)
        signature = fields.pop(SIGNATURE, "")
        if not signature:
            raise MissingSignature(f"The form has no field {SIGNATURE}.")
        message = _serialise(fields)
        for index, key in enumerate(self._keys):
            if key.matches(message, [signature.encode("utf-8")]):
                return self._labels.verified(request, index)
        raise BadSignature("The signature in the form matches none of the active keys.")


def _key(secret: str) -> PublicKey:
    return PublicKey("rsa-sha1", "pem", "base64", b"", secret)


def _fields(request: Request) -> dict[str, str]:
    pairs = read_pairs(request)
    fields = dict(pairs)
    if len(fields) < len(pairs) or not all(_NAME.fullmatch(name) for name in fields):
        raise MalformedSignature("The form repeats a field or nests one.")
    return fields


def _serialise(fields: Mapping[str, str]) -> bytes:
    """PHP's serialize() of an array of strings, sorted by name."""
    texts = [text.encode("utf-8") for name in sorted(fields) for text in (name, fields[name])]
    return b"a:%d:{%b}" % (
        len(fields),
        b"".join([b's:%d:"%b";' % (len(text), text) for text in texts]),
    )


def fill(options: Options, event: Outgoing, fields: dict[str, Any]) -> dict[str, Any]:
    """The form with its signature."""
    return fields | {SIGNATURE: _key(event.secret).sign(_serialise(fields)).decode("ascii")}


FAMILY = Family("paddle_classic", (), PaddleClassicVerifier, fill=fill, is_form=True)
