"""Keys that check signatures: HMAC here, public keys in asymmetric.py."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from hmac import compare_digest
from typing import Protocol

from apps.sources.schemes.asymmetric import PUBLIC_KEY_ALGORITHMS, PublicKey
from apps.sources.schemes.encodings import ENCODERS, decode_key
from apps.sources.schemes.options import Choice, WrongOptions
from apps.sources.schemes.recording import Signing, signings

ALGORITHMS: tuple[Choice, ...] = (
    ("hmac-sha256", "HMAC SHA-256"),
    ("hmac-sha512", "HMAC SHA-512"),
    ("hmac-sha384", "HMAC SHA-384"),
    ("hmac-sha1", "HMAC SHA-1"),
    *PUBLIC_KEY_ALGORITHMS,
)


class Key(Protocol):
    """One active secret, ready for use."""

    def matches(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of `signatures` (prefix and encoding as sent) is right for `message`."""

    def sign(self, message: bytes) -> bytes:
        """The right signature, with prefix and encoding as sent."""


class HmacKey:
    """HMAC (RFC 2104) with both half-used hash states kept.

    hmac.digest() hashes the padded key anew for each message: 3.3 µs for 2 KB against 2.3 µs
    from the kept states.
    """

    __slots__ = ("_encode", "_inner", "_outer", "_prefix")

    def __init__(self, digest: str, key: bytes, encoding: str, prefix: bytes) -> None:
        hasher = hashlib.new(digest)
        block = (key if len(key) <= hasher.block_size else hashlib.new(digest, key).digest()).ljust(
            hasher.block_size, b"\0"
        )
        self._inner = hashlib.new(digest, bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.new(digest, bytes(byte ^ 0x5C for byte in block))
        self._encode = ENCODERS[encoding]
        self._prefix = prefix

    def sign(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return self._prefix + self._encode(outer.digest())

    def matches(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        right = self.sign(message)
        # The written forms are compared: decoding first would let several spellings pass.
        for signature in signatures:  # noqa: SIM110 - any() would cost a generator a request
            if compare_digest(right, signature):
                return True
        return False


class AnyCaseHmacKey(HmacKey):
    """For the providers whose own library takes hex in upper case too."""

    __slots__ = ()

    def matches(self, message: bytes, signatures: Sequence[bytes]) -> bool:
        size = len(self._prefix)
        return super().matches(message, [text[:size] + text[size:].lower() for text in signatures])


class RecordedHmacKey(HmacKey):
    """Also writes down what it signs; made only while somebody wants to know."""

    __slots__ = ("_about", "_found")

    def __init__(
        self, algorithm: str, form: str, encoding: str, prefix: bytes, secret: str
    ) -> None:
        key = decode_key(form, secret)
        super().__init__(algorithm.removeprefix("hmac-"), key, encoding, prefix)
        self._about = (algorithm, form, encoding)
        self._found = signings.get()

    def sign(self, message: bytes) -> bytes:
        signature = super().sign(message)
        if self._found is not None:
            bare = signature[len(self._prefix) :]
            self._found.append(Signing(*self._about, message, bare))
        return signature


def make_key(algorithm: str, form: str, encoding: str, prefix: bytes, secret: str) -> Key:
    """Raises `WrongOptions` ("secrets") where the secret cannot be such a key."""
    if not algorithm.startswith("hmac-"):
        return PublicKey(algorithm, form, encoding, prefix, secret)
    if form == "pem":
        raise WrongOptions("key_form", "An HMAC key is text, hex or base64, not PEM.")
    if signings.get() is not None:
        return RecordedHmacKey(algorithm, form, encoding, prefix, secret)
    kind = AnyCaseHmacKey if encoding == "hex_any_case" else HmacKey
    return kind(algorithm.removeprefix("hmac-"), decode_key(form, secret), encoding, prefix)
