"""Ed25519, ECDSA and RSA: the source holds the provider's public key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from apps.sources.schemes.encodings import ENCODERS, decode_key, decode_signature
from apps.sources.schemes.options import Choice, WrongOptions

PUBLIC_KEY_ALGORITHMS: tuple[Choice, ...] = (
    ("ed25519", "Ed25519"),
    ("ecdsa-sha256", "ECDSA SHA-256"),
    ("ecdsa-sha384", "ECDSA SHA-384"),
    ("rsa-sha256", "RSA PKCS#1 v1.5 SHA-256"),
    ("rsa-sha512", "RSA PKCS#1 v1.5 SHA-512"),
    ("rsa-sha1", "RSA PKCS#1 v1.5 SHA-1"),
    ("rsa-pss-sha256", "RSA-PSS SHA-256"),
)
ED25519_KEY_BYTES = 32
MAX_TRIES = 5
"""A public-key check costs 50 to 150 µs: a header full of signatures must not buy many."""

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_Check = Callable[[bytes, bytes], None]
_Sign = Callable[[bytes], bytes]


class PublicKey:
    """A public key, or for test events the private one (then `sign` works too)."""

    __slots__ = ("_check", "_encoding", "_prefix", "_sign")

    def __init__(
        self, algorithm: str, form: str, encoding: str, prefix: bytes, secret: str
    ) -> None:
        self._check, self._sign = _load(algorithm, form, secret)
        self._encoding = encoding
        self._prefix = prefix

    def matches(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of the first `MAX_TRIES` candidates is right."""
        size = len(self._prefix)
        candidates = [text[size:] for text in signatures if text.startswith(self._prefix)]
        return any(self._is_right(message, text) for text in candidates[:MAX_TRIES])

    def _is_right(self, message: bytes, text: bytes) -> bool:
        signature = decode_signature(self._encoding, text)
        if signature is None:
            return False
        try:
            self._check(signature, message)
        except InvalidSignature:
            return False
        return True

    def sign(self, message: bytes) -> bytes:
        """Raises `WrongOptions` where only the public key is known."""
        if self._sign is None:
            raise WrongOptions("secrets", "A public key cannot sign.")
        return self._prefix + ENCODERS[self._encoding](self._sign(message))


def check_rsa(public: rsa.RSAPublicKey, digest: str, signature: bytes, message: bytes) -> None:
    """RSA PKCS#1 v1.5; raises InvalidSignature."""
    public.verify(signature, message, padding.PKCS1v15(), _HASHES[digest]())


def _load(algorithm: str, form: str, secret: str) -> tuple[_Check, _Sign | None]:
    try:
        if "PRIVATE KEY" in secret:
            return _from_private(algorithm, secret)
        return _checker(algorithm, _public_key(form, secret)), None
    except (ValueError, UnsupportedAlgorithm):
        raise WrongOptions("secrets", f"The secret is not a key for {algorithm}.") from None


def _public_key(form: str, secret: str) -> object:
    if "-----BEGIN CERTIFICATE" in secret:
        return x509.load_pem_x509_certificate(secret.encode()).public_key()
    if "-----BEGIN" in secret:
        return serialization.load_pem_public_key(secret.encode())
    raw = decode_key("base64" if form in ("pem", "text") else form, secret.strip())
    if len(raw) == ED25519_KEY_BYTES:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    return serialization.load_der_public_key(raw)


def _checker(algorithm: str, key: object) -> _Check:
    family, _, digest = algorithm.rpartition("-")
    if algorithm == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey):
        return key.verify
    if family == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
        scheme = ec.ECDSA(_HASHES[digest]())
        return lambda signature, message: key.verify(signature, message, scheme)
    if family in _PADDINGS and isinstance(key, rsa.RSAPublicKey):
        pad, hasher = _PADDINGS[family], _HASHES[digest]()
        return lambda signature, message: key.verify(signature, message, pad, hasher)
    raise ValueError


_PADDINGS: dict[str, padding.AsymmetricPadding] = {
    "rsa": padding.PKCS1v15(),
    "rsa-pss": padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO),
}


def _from_private(algorithm: str, secret: str) -> tuple[_Check, _Sign]:
    key = serialization.load_pem_private_key(secret.encode(), password=None)
    family, _, digest = algorithm.rpartition("-")
    check = _checker(algorithm, key.public_key())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return check, key.sign
    if isinstance(key, ec.EllipticCurvePrivateKey):
        scheme = ec.ECDSA(_HASHES[digest]())
        return check, lambda message: key.sign(message, scheme)
    if isinstance(key, rsa.RSAPrivateKey):
        pad = (
            padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            if family == "rsa-pss"
            else _PADDINGS[family]
        )
        return check, lambda message: key.sign(message, pad, _HASHES[digest]())
    raise ValueError
