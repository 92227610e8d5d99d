"""Reads docker-compose.yml as `docker compose` would, as far as these tests need it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline_admin.env import BASE_DIR

COMPOSE_TEXT = (BASE_DIR / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("web", "dispatcher", "worker", "celery", "beat", "migrate")
ONE_SHOTS = ("migrate", "temporal-schema", "temporal-namespace")

# ${NAME}, ${NAME:-default}, ${NAME:?sentence}; a doubled $ is a literal one.
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def get_variables(text: str = COMPOSE_TEXT) -> list[tuple[str, str, str]]:
    """Each use of a variable: name, kind ('' plain, '-' default, '?' required), the rest."""
    return [(m["name"], m["kind"] or "", m["rest"] or "") for m in VARIABLE.finditer(text)]


def get_example() -> dict[str, str]:
    """The variables of .env.example and their values."""
    lines = (BASE_DIR / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}
