"""Reads the shared vectors and says them in this project's words."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from apps.sources.schemes import SCHEMES, Request, Verifier, build_verifier
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
    if vector["config"].get("key") == "utf8":
        return "hmac"  # EasyPost's secret without its normalisation: not EasyPost's scheme
    provider: str = vector["provider"]
    return SLUGS.get(provider, provider)


@dataclass(frozen=True)
class Case:
    """One vector: the verifier of its source and the request."""

    verifier: Verifier
    request: Request


def case_of(vector: Vector) -> Case:
    verifier = build_verifier(
        slug_of(vector),
        options_of(vector),
        secrets_of(vector),
        fetch_certificate=lambda url: vector["config"]["cert_pem"].encode(),
    )
    return Case(verifier, request_of(vector))


def request_of(vector: Vector) -> Request:
    headers = {
        name.lower().encode(): value.encode("latin-1") for name, value in vector["headers"].items()
    }
    body = base64.b64decode(vector["body_b64"])
    url = vector["url"] or "https://hooks.example.com/hooks/source"
    return Request(vector["method"], url, headers, body, float(vector["now"] or 0))


def secrets_of(vector: Vector) -> list[str]:
    config, secret = vector["config"], vector["secret"]
    if "primary_key" in config:
        return [key for key in (config["primary_key"], config["secondary_key"]) if key]
    if secret is None:
        return []
    return secret if isinstance(secret, list) else [secret]


def options_of(vector: Vector) -> dict[str, object]:
    """What differs from the provider's row: our rows must hold all the rest by themselves."""
    slug, config = slug_of(vector), vector["config"]
    options: dict[str, object] = {}
    if slug == "hmac":
        encoding = "base64" if vector["scheme"] == "hmac-base64" else "hex"
        options = {
            "header": config["header"],
            "prefix": config["prefix"],
            "algorithm": f"hmac-{config['alg']}",
            "encoding": encoding,
        }
    if "match_header" in config:
        options["required_headers"] = f"{config['match_header']}: {config['match_value']}"
    if slug == "aws-sns":
        options["topic_arn"] = json.loads(base64.b64decode(vector["body_b64"]))["TopicArn"]
    if slug in ADJUSTABLE_WINDOW and vector["now"] is None:
        options["tolerance_s"] = None  # judged without a clock
    elif slug == "box":
        options["tolerance_s"] = config["tolerance"]
    return options


ADJUSTABLE_WINDOW = {
    slug
    for slug, info in SCHEMES.items()
    if any(field.name == "tolerance_s" for field in info.fields)
}
