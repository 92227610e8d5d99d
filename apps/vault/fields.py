"""Model fields whose values are encrypted in the database."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.vault.vault import decrypt, decrypt_bytes, encrypt, encrypt_bytes


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text that the database sees only as a Fernet token; it can't be searched or compared."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return decrypt(value) if value else value

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(str(value)) if value else value


class EncryptedBinaryField(models.BinaryField):  # type: ignore[type-arg]
    """Bytes that the database sees only as a Fernet token, a third longer."""

    def from_db_value(self, value: Any, *_: Any) -> bytes | None:
        return None if value is None else decrypt_bytes(bytes(value))

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else encrypt_bytes(bytes(value))
