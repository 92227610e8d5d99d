"""A JSON web token in a header, made with the shared secret or the provider's private key."""

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
from apps.sources.schemes.encodings import ENCODERS, ENCODINGS, decode_signature
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.jws_keys import ALGORITHMS, ENCODING, make_jws_key
from apps.sources.schemes.options import OptionField, Options, WrongOptions, first_value
from apps.sources.schemes.stamp import TOLERANCE_FIELD
from apps.sources.schemes.timestamps import Window

FIELDS = (
    OptionField("header", "Header with the token", help="With or without “Bearer ” before it."),
    OptionField("algorithm", "Algorithm", kind="choice", default="HS256", choices=ALGORITHMS),
    OptionField(
        "body_claim",
        "Claim with the body's SHA-256",
        help="Empty: the token does not cover the body.",
    ),
    OptionField(
        "body_encoding",
        "Encoding of that claim",
        kind="choice",
        default="base64",
        choices=ENCODINGS,
    ),
    TOLERANCE_FIELD,
)


MAX_SECONDS = 10**12


class JwtVerifier(Verifier):
    """Only the source's algorithm is taken: a token that names another one is refused."""

    def __init__(self, setup: Setup) -> None:
        options = setup.options
        self._headers = options.headers("header")
        if not self._headers:
            raise WrongOptions("header", "Say which header carries the token.")
        self._algorithm = options.text("algorithm")
        self._body_claim = options.text("body_claim")
        self._encode = ENCODERS[options.text("body_encoding")]
        age_s = options.number("tolerance_s")
        self._window = None if age_s is None else Window("seconds", age_s)
        self._keys = [make_jws_key(self._algorithm, secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        token = first_value(request.headers, self._headers).removeprefix(b"Bearer ")
        if not token:
            raise MissingSignature(f"The header {self._headers[0].decode()} is missing or empty.")
        signed, _, signature = token.rpartition(b".")
        head, _, claims = signed.partition(b".")
        if _read(head).get("alg") != self._algorithm:
            raise MalformedSignature(f"The token is not signed with {self._algorithm}.")
        for index, key in enumerate(self._keys):
            if key.matches(signed, [signature]):
                self._check_claims(_read(claims), request)
                return self._labels.verified(request, index)
        raise BadSignature("The token's signature matches none of the active secrets.")

    def _check_claims(self, claims: dict[str, Any], request: Request) -> None:
        expires = claims.get("exp")
        if expires is not None and not _is_later(expires, request.now):
            raise StaleTimestamp("The token has expired.")
        if self._window:
            self._window.check(_seconds(claims.get("iat")), request.now)
        if self._body_claim:
            right = self._encode(hashlib.sha256(request.body).digest()).decode("ascii")
            if not compare_digest(right, _ascii(claims.get(self._body_claim))):
                raise BadSignature("The token was made for another body.")


def _is_later(expires: object, now: float) -> bool:
    return isinstance(expires, int | float) and not isinstance(expires, bool) and expires > now


def _seconds(issued: object) -> bytes:
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        return b""
    return b"%d" % issued if abs(issued) < MAX_SECONDS else b""


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
    encode, algorithm = ENCODERS[ENCODING], options.text("algorithm")
    claims: dict[str, object] = {"iat": int(event.now), "exp": int(event.now) + 300}
    if name := options.text("body_claim"):
        digest = hashlib.sha256(event.body).digest()
        claims[name] = ENCODERS[options.text("body_encoding")](digest).decode("ascii")
    head = encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    signed = head + b"." + encode(json.dumps(claims).encode())
    key = make_jws_key(algorithm, event.secret)
    return {options.first_header("header"): (signed + b"." + key.sign(signed)).decode("ascii")}


FAMILY = Family("jwt", FIELDS, JwtVerifier, sign)
