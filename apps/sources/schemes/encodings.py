"""How keys and signatures are written down."""

from __future__ import annotations

import binascii
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import hexlify
from collections.abc import Callable

from apps.sources.schemes.options import Choice, WrongOptions

ENCODINGS: tuple[Choice, ...] = (
    ("hex", "Hex"),
    ("hex_any_case", "Hex, upper or lower case"),
    ("base64", "Base64"),
    ("base64url", "Base64, URL-safe alphabet"),
    ("base64url_nopad", "Base64, URL-safe alphabet, without ="),
)
KEY_FORMS: tuple[Choice, ...] = (
    ("text", "Text, used as it is"),
    ("hex", "Hex"),
    ("base64", "Base64"),
    ("whsec", "whsec_ and base64 (Standard Webhooks)"),
    ("nfkd", "Text, NFKD-normalised"),
    ("pem", "PEM"),
)


def encode_base64(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False)


def _encode_base64url_nopad(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "hex": hexlify,
    "hex_any_case": hexlify,
    "base64": encode_base64,
    "base64url": urlsafe_b64encode,
    "base64url_nopad": _encode_base64url_nopad,
}
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "hex": binascii.unhexlify,
    "hex_any_case": binascii.unhexlify,
    "base64": lambda text: binascii.a2b_base64(text, strict_mode=True),
    "base64url": urlsafe_b64decode,
    "base64url_nopad": lambda text: urlsafe_b64decode(text + b"=" * (-len(text) % 4)),
}


def decode_signature(encoding: str, text: bytes) -> bytes | None:
    """The bytes that `text` stands for, None unless it is their one canonical spelling.

    Base64 has spare bits at its end: without the second look, four spellings would be one
    signature, and a changed byte would go unnoticed.
    """
    try:
        raw = _DECODERS[encoding](text)
    except ValueError:
        return None
    written = text.lower() if encoding == "hex_any_case" else text
    return raw if ENCODERS[encoding](raw) == written else None


def decode_key(form: str, secret: str) -> bytes:
    """The key's bytes. Raises `WrongOptions` ("secrets") for an empty or unreadable one."""
    try:
        key = _KEY_DECODERS[form](secret)
    except ValueError:
        label = dict(KEY_FORMS)[form]
        raise WrongOptions("secrets", f"The secret is not in the form “{label}”.") from None
    if not key:
        raise WrongOptions("secrets", "The secret is empty.")
    return key


def _text_key(secret: str) -> bytes:
    return secret.encode("utf-8")


def _nfkd_key(secret: str) -> bytes:
    return unicodedata.normalize("NFKD", secret).encode("utf-8")


def _base64_key(secret: str) -> bytes:
    text = secret.encode("ascii").rstrip(b"=")
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)


def _whsec_key(secret: str) -> bytes:
    return _base64_key(secret.removeprefix("whsec_"))


_KEY_DECODERS: dict[str, Callable[[str], bytes]] = {
    "text": _text_key,
    "hex": lambda secret: binascii.unhexlify(secret.encode("ascii")),
    "base64": _base64_key,
    "whsec": _whsec_key,
    "nfkd": _nfkd_key,
    "pem": _text_key,
}
