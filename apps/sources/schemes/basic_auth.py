"""The family of basic authentication: a secret is "user:password"."""

from __future__ import annotations

from hmac import compare_digest
from typing import ClassVar

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.encodings import decode_signature, encode_base64
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import Options, WrongOptions


class CredentialsWanted(MissingSignature):
    """Some senders (Amazon SNS, Twilio) give user and password only to who asks like this."""

    headers: ClassVar[list[tuple[bytes, bytes]]] = [
        (b"www-authenticate", b'Basic realm="webhooks", charset="UTF-8"')
    ]


class BasicAuthVerifier(Verifier):
    """Compares the Authorization header with each "user:password"."""

    def __init__(self, setup: Setup) -> None:
        self._credentials = [_credentials(secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._credentials)
        given = _given(request.headers.get(b"authorization", b""))
        for index, credentials in enumerate(self._credentials):
            if compare_digest(credentials, given):
                return self._labels.verified(request, index)
        raise BadSignature("User and password match none of the active secrets.")


def _credentials(secret: str) -> bytes:
    user, colon, password = secret.partition(":")
    if not (user and colon and password):
        raise WrongOptions("secrets", "Write the secret as user:password.")
    return secret.encode("utf-8")


def _given(header: bytes) -> bytes:
    if not header:
        raise CredentialsWanted("The Authorization header is missing.")
    scheme, _, text = header.partition(b" ")
    decoded = decode_signature("base64", text.strip()) if scheme.lower() == b"basic" else None
    if not decoded:
        raise MalformedSignature("The Authorization header holds no basic authentication.")
    return decoded


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    text = encode_base64(event.secret.encode("utf-8")).decode("ascii")
    return {"Authorization": f"Basic {text}"}


FAMILY = Family("basic_auth", (), BasicAuthVerifier, sign)
