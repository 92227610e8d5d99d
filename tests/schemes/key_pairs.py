"""Key pairs as a provider with a public key has them: one of each kind for the whole run."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PROVIDERS_ALGORITHM = {
    "discord": "ed25519",
    "paddle-classic": "rsa-sha1",
    "plaid": "ecdsa-sha256",
    "postal": "rsa-sha1",
    "sendgrid": "ecdsa-sha256",
    "telnyx": "ed25519",
}
"""Schemes whose private key only the provider has."""


@cache
def private_key(family: str) -> PrivateKey:
    if family == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if family == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 2048)


def private_pem(algorithm: str) -> str:
    key = private_key(algorithm.split("-")[0])
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def public_pem(algorithm: str) -> str:
    key = private_key(algorithm.split("-")[0]).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
