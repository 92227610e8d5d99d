"""Encryption at rest: the only module that touches a key."""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class VaultError(Exception):
    """A key is missing or wrong: the sentence says which setting to mend."""

    code = "vault_error"
    permanent = True


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise VaultError("VAULT_KEYS is empty: set at least one Fernet key.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise VaultError(
            "VAULT_KEYS holds a key that is not 32 bytes of urlsafe base64."
        ) from error


def encrypt(text: str) -> str:
    """`text` as a Fernet token (ASCII), made with the first key."""
    return encrypt_bytes(text.encode()).decode("ascii")


def encrypt_bytes(raw: bytes) -> bytes:
    """`raw` as a Fernet token, a third longer, made with the first key."""
    return _cipher(tuple(settings.VAULT_KEYS)).encrypt(raw)


def decrypt(token: str) -> str:
    """The text of a token that any of the keys made; raises VaultError where none fits."""
    return decrypt_bytes(token.encode("ascii")).decode()


def decrypt_bytes(token: bytes) -> bytes:
    """What `encrypt_bytes` was given; raises VaultError where no key fits."""
    try:
        return _cipher(tuple(settings.VAULT_KEYS)).decrypt(token)
    except InvalidToken:
        raise VaultError(
            "A stored secret can't be decrypted: VAULT_KEYS lacks the key it was made with."
        ) from None


def rotate(token: str) -> str:
    """The same text under the first key, so that an old key can be retired."""
    return _cipher(tuple(settings.VAULT_KEYS)).rotate(token.encode("ascii")).decode("ascii")
