"""Keys of JSON web tokens (JWS): shared text, PEM, or a JSON web key."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from apps.sources.schemes.encodings import ENCODERS, decode_signature
from apps.sources.schemes.keys import Key, make_key
from apps.sources.schemes.options import Choice, WrongOptions

ALGORITHMS: tuple[Choice, ...] = (
    ("HS256", "HS256 (HMAC)"),
    ("HS384", "HS384 (HMAC)"),
    ("HS512", "HS512 (HMAC)"),
    ("ES256", "ES256 (ECDSA P-256)"),
    ("RS256", "RS256 (RSA)"),
    ("EdDSA", "EdDSA (Ed25519)"),
)
ENCODING = "base64url_nopad"
_OURS = {
    "HS256": "hmac-sha256",
    "HS384": "hmac-sha384",
    "HS512": "hmac-sha512",
    "RS256": "rsa-sha256",
    "EdDSA": "ed25519",
}
_HALF = 32
"""Bytes of each half of an ES256 signature."""
_HASH = ec.ECDSA(hashes.SHA256())


class Es256Key:
    """ECDSA whose signature is its two numbers side by side, not DER as everywhere else."""

    def __init__(self, secret: str) -> None:
        self._private: ec.EllipticCurvePrivateKey | None = None
        try:
            self._public = self._load(secret)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WrongOptions("secrets", "The secret is not a P-256 key for ES256.") from None

    def _load(self, secret: str) -> ec.EllipticCurvePublicKey:
        if secret.lstrip().startswith("{"):
            return _read_jwk(secret)
        key: object
        if "PRIVATE KEY" in secret:
            private = serialization.load_pem_private_key(secret.encode(), password=None)
            if isinstance(private, ec.EllipticCurvePrivateKey):
                self._private = private
            key = private.public_key()
        else:
            key = serialization.load_pem_public_key(secret.encode())
        if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
            raise ValueError
        return key

    def matches(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of `signatures` is right for `message`."""
        return any(self._is_right(message, text) for text in signatures)

    def _is_right(self, message: bytes, text: bytes) -> bool:
        raw = decode_signature(ENCODING, text)
        if raw is None or len(raw) != 2 * _HALF:
            return False
        r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        try:
            self._public.verify(encode_dss_signature(r, s), message, _HASH)
        except InvalidSignature:
            return False
        return True

    def sign(self, message: bytes) -> bytes:
        """Raises `WrongOptions` where only the public key is known."""
        if self._private is None:
            raise WrongOptions("secrets", "A public key cannot sign.")
        r, s = decode_dss_signature(self._private.sign(message, _HASH))
        return ENCODERS[ENCODING](r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big"))


def _read_jwk(text: str) -> ec.EllipticCurvePublicKey:
    fields = json.loads(text)
    if fields["kty"] != "EC" or fields["crv"] != "P-256":
        raise ValueError
    x, y = (decode_signature(ENCODING, fields[name].encode()) for name in ("x", "y"))
    if x is None or y is None:
        raise ValueError
    numbers = (int.from_bytes(x, "big"), int.from_bytes(y, "big"))
    return ec.EllipticCurvePublicNumbers(*numbers, ec.SECP256R1()).public_key()


def make_jws_key(algorithm: str, secret: str) -> Key:
    """Raises `WrongOptions` ("secrets") where the secret cannot be such a key."""
    if algorithm == "ES256":
        return Es256Key(secret)
    form = "text" if algorithm.startswith("HS") else "pem"
    return make_key(_OURS[algorithm], form, ENCODING, b"", secret)
