"""Prints `.env.example` with a fresh value for every secret: `python3 deploy/new_env.py > .env`."""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"


def password() -> str:
    """48 hexadecimal digits: they need no escaping in an address."""
    return secrets.token_hex(24)


def fernet_key() -> str:
    """32 random bytes as Fernet writes its keys."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


GENERATED: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "VAULT_KEYS": fernet_key,
    "DATABASE_PASSWORD": password,
    "TEMPORAL_DATABASE_PASSWORD": password,
    "QUEUE_PASSWORD": password,
    "METRICS_TOKEN": password,
    "GRAFANA_PASSWORD": password,
}


def filled(line: str) -> str:
    """The line, with a value behind the name of a secret."""
    name = line.partition("=")[0]
    return f"{name}={GENERATED[name]()}" if name in GENERATED else line


def main() -> None:
    """Print the whole file; nothing is written, so no `.env` can be overwritten by mistake."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    sys.stdout.write("\n".join(filled(line) for line in lines) + "\n")


if __name__ == "__main__":
    main()
