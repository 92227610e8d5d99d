"""A JSON web token (HS256) in a header, made with the shared secret."""

from __future__ import annotations

import hashlib
import json
from hmac import compare_digest
from typing import Any

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    StaleTimestamp,
    Verified,
    Verifier,
)
from apps.sources.schemes.encodings import ENCODERS, decode_signature, encode_base64
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.keys import make_key
from apps.sources.schemes.options import OptionField, Options

FIELDS = (
    OptionField("header", "Header with the token"),
    OptionField(
        "body_claim",
        "Claim with the body's SHA-256",
        help="Empty: the token does not cover the body.",
    ),
)


class JwtVerifier(Verifier):
    """Only HS256 is taken: a token that names another algorithm is refused."""

    def __init__(self, setup: Setup) -> None:
        (self._header,) = setup.options.headers("header")
        self._body_claim = setup.options.text("body_claim")
        self._keys = [
            make_key("hmac-sha256", "text", "base64url_nopad", b"", secret)
            for secret in setup.secrets
        ]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        token = request.headers.get(self._header, b"").removeprefix(b"Bearer ")
        if not token:
            raise MissingSignature(f"The header {self._header.decode()} is missing or empty.")
        signed, _, signature = token.rpartition(b".")
        head, _, claims = signed.partition(b".")
        if _read(head).get("alg") != "HS256":
            raise MalformedSignature("The token is not signed with HS256.")
        for index, key in enumerate(self._keys):
            if key.matches(signed, [signature]):
                self._check_claims(_read(claims), request)
                return self._labels.verified(request, index)
        raise BadSignature("The token's signature matches none of the active secrets.")

    def _check_claims(self, claims: dict[str, Any], request: Request) -> None:
        expires = claims.get("exp")
        if expires is not None and not _is_later(expires, request.now):
            raise StaleTimestamp("The token has expired.")
        if self._body_claim:
            right = encode_base64(hashlib.sha256(request.body).digest()).decode("ascii")
            if not compare_digest(right, _ascii(claims.get(self._body_claim))):
                raise BadSignature("The token was made for another body.")


def _is_later(expires: object, now: float) -> bool:
    return isinstance(expires, int | float) and not isinstance(expires, bool) and expires > now


def _ascii(value: object) -> str:
    return value if isinstance(value, str) and value.isascii() else ""


def _read(part: bytes) -> dict[str, Any]:
    raw = decode_signature("base64url_nopad", part)
    try:
        value = json.loads(raw or b"")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MalformedSignature("The token cannot be read.")
    return value


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    encode = ENCODERS["base64url_nopad"]
    claims: dict[str, object] = {"exp": int(event.now) + 300}
    if name := options.text("body_claim"):
        claims[name] = encode_base64(hashlib.sha256(event.body).digest()).decode("ascii")
    head = encode(b'{"alg":"HS256","typ":"JWT"}')
    signed = head + b"." + encode(json.dumps(claims).encode())
    key = make_key("hmac-sha256", "text", "base64url_nopad", b"", event.secret)
    return {options.first_header("header"): (signed + b"." + key.sign(signed)).decode("ascii")}


FAMILY = Family("jwt", FIELDS, JwtVerifier, sign)
