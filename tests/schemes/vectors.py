"""Reads the shared vectors and says them in this project's words."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from apps.sources.schemes import Request, Verifier, build_verifier
from tests.fixtures.shared_data import SHARED_DATA

FILE = SHARED_DATA / "webhooks" / "vectors.json"
SLUGS: dict[str, str] = {"generic-hmac": "hmac"}
"""Vector providers whose scheme has another name here."""

Vector = dict[str, Any]


def load_vectors() -> list[Vector]:
    """All vectors, none where the shared data is absent."""
    if not FILE.is_file():
        return []
    vectors: list[Vector] = json.loads(FILE.read_text(encoding="utf-8"))
    return vectors


def slug_of(vector: Vector) -> str:
    provider: str = vector["provider"]
    return SLUGS.get(provider, provider)


@dataclass(frozen=True)
class Case:
    """One vector: the verifier of its source and the request."""

    verifier: Verifier
    request: Request


def case_of(vector: Vector) -> Case:
    verifier = build_verifier(slug_of(vector), options_of(vector), secrets_of(vector))
    headers = {
        name.lower().encode(): value.encode("latin-1") for name, value in vector["headers"].items()
    }
    body = base64.b64decode(vector["body_b64"])
    url = vector["url"] or "https://hooks.example.com/hooks/source"
    now = float(vector["now"] or 0)
    return Case(verifier, Request(vector["method"], url, headers, body, now))


def secrets_of(vector: Vector) -> list[str]:
    secret = vector["secret"]
    if secret is None:
        return []
    return secret if isinstance(secret, list) else [secret]


def options_of(vector: Vector) -> dict[str, object]:
    """What differs from the provider's row: our rows must hold all the rest by themselves."""
    if vector["provider"] == "generic-hmac":
        config = vector["config"]
        encoding = "base64" if vector["scheme"] == "hmac-base64" else "hex"
        return {
            "header": config["header"],
            "prefix": config["prefix"],
            "algorithm": f"hmac-{config['alg']}",
            "encoding": encoding,
        }
    return {}
