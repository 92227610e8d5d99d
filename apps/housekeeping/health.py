"""Which parts work, and why not: for /readyz, the status sample and the page."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from apps.dashboard.heartbeats import ALIVE_FOR_S, get_ages_s
from apps.streams.durability import get_durability

CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class PartHealth:
    """One part: does it work, and a sentence where it does not. `why` is empty when it does."""

    ok: bool
    why: str = ""

    def as_json(self) -> dict[str, object]:
        return {"ok": self.ok, "why": self.why}


def check_database() -> PartHealth:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return PartHealth(False, f"The database does not answer ({error.__class__.__name__}).")
    return PartHealth(True)


def check_address(host: str, port: int, name: str) -> PartHealth:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return PartHealth(False, f"{name} at {host}:{port} refuses connections ({error.strerror}).")
    return PartHealth(True)


def check_queue() -> PartHealth:
    """Every shard must answer and must keep what it acknowledges."""
    reasons = [shard.why for shard in get_durability() if not shard.ok]
    return PartHealth(not reasons, " ".join(reasons))


def check_temporal() -> PartHealth:
    host, _, port = settings.TEMPORAL_ADDRESS.rpartition(":")
    return check_address(host, int(port), "Temporal")


def check_llm() -> PartHealth:
    if not settings.OPENAI_BASE_URL and not settings.OPENAI_API_KEY:
        return PartHealth(False, "No LLM is configured: set OPENAI_API_KEY or OPENAI_BASE_URL.")
    if not settings.OPENAI_BASE_URL:
        return PartHealth(True)
    address = urlsplit(settings.OPENAI_BASE_URL)
    port = address.port or (443 if address.scheme == "https" else 80)
    return check_address(address.hostname or "", port, "The LLM server")


def check_heartbeat(part: str, age_s: float | None) -> PartHealth:
    if age_s is None:
        return PartHealth(False, f"No {part} has reported yet: is one running?")
    if age_s > ALIVE_FOR_S:
        return PartHealth(False, f"The last sign of life of a {part} is {age_s:.0f} s old.")
    return PartHealth(True)


def get_parts() -> dict[str, PartHealth]:
    """The health of every part, by name. Asks each; takes up to a second for one that is down."""
    database = check_database()
    parts = {"database": database, "queue": check_queue(), "temporal": check_temporal()}
    parts["llm"] = check_llm()
    if database.ok:
        parts |= {part: check_heartbeat(part, age) for part, age in get_ages_s().items()}
    return parts
