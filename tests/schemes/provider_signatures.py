"""Signatures that stand inside a form, written down once more, so that the product's own code
cannot agree with itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.schemes.key_pairs import private_key


def php_serialize(fields: dict[str, str]) -> str:
    """What PHP's ksort() and serialize() make of ASCII and other text."""
    text = ""
    for name, value in sorted(fields.items()):
        text += f's:{len(name.encode())}:"{name}";s:{len(value.encode())}:"{value}";'
    return "a:" + str(len(fields)) + ":{" + text + "}"


def paddle_classic_form(fields: dict[str, str]) -> bytes:
    """A form with its p_signature."""
    key = private_key("rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    text = php_serialize(fields).encode()
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA1())
    return urlencode(fields | {"p_signature": base64.b64encode(signature).decode()}).encode()


def braintree_form(xml: str, *pairs: tuple[str, str]) -> bytes:
    """A notification signed with each (public, private) key."""
    payload = base64.encodebytes(xml.encode()).decode()
    signatures = []
    for public, private in pairs:
        key = hashlib.sha1(private.encode()).digest()
        signatures.append(f"{public}|{hmac.digest(key, payload.encode(), 'sha1').hex()}")
    return urlencode({"bt_signature": "&".join(signatures), "bt_payload": payload}).encode()
