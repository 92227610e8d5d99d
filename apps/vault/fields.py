"""A model field whose value is encrypted in the database."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.vault.vault import decrypt, encrypt


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text that the database sees only as a Fernet token; it can't be searched or compared."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return decrypt(value) if value else value

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(str(value)) if value else value
