"""Which parts work, and why not: for /readyz, the status sample and the page."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from apps.dashboard.heartbeats import ALIVE_FOR_S, get_ages_s
from apps.llm.breaker import find_open
from apps.llm.provider_health import ProviderHealth, Told, get_providers, read_told
from apps.llm.provider_models import SETTINGS_SLUG
from apps.streams.durability import get_durability
from apps.streams.errors import QueueError
from apps.streams.spool.status import get_status

CONNECT_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class PartHealth:
    """One part: does it work, and a sentence where it does not, or where something waits.

    `is_usable`: it does enough for events to be taken in, though a piece of it may fail.
    """

    ok: bool
    why: str = ""
    is_usable: bool = True
    providers: tuple[ProviderHealth, ...] | None = None  # of the part that has them

    def as_json(self) -> dict[str, object]:
        said: dict[str, object] = {"ok": self.ok, "why": self.why}
        if self.providers is None:
            return said
        return said | {"providers": [provider.as_json() for provider in self.providers]}


def check_database() -> PartHealth:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        why = f"The database does not answer ({error.__class__.__name__})."
        return PartHealth(False, why, is_usable=False)
    return PartHealth(True)


def check_address(host: str, port: int, name: str) -> PartHealth:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return PartHealth(False, f"{name} at {host}:{port} refuses connections ({error.strerror}).")
    return PartHealth(True)


def check_queue() -> PartHealth:
    """Every shard must answer and must keep what it acknowledges. One that does not keeps the
    others from nothing: a probe must not take their ingest away too. Nor does a queue that is down
    as long as the spool takes what comes; `why` also says what waits there.
    """
    shards = get_durability()
    reasons = [
        f"Shard {shard.shard}: {shard.why}" if len(shards) > 1 else shard.why
        for shard in shards
        if not shard.ok
    ]
    takes_events = any(shard.ok and not shard.is_draining for shard in shards)
    spool = get_status()
    if spool is None:
        return PartHealth(not reasons, " ".join(reasons), is_usable=takes_events)
    why = " ".join([*reasons, str(spool)]).strip()
    return PartHealth(not reasons, why, is_usable=takes_events or spool.takes)


def check_spool() -> PartHealth | None:
    """Whether an event would be kept while the queue is down; None where this machine has no
    spool: that of another is not seen from here.
    """
    spool = get_status()
    return PartHealth(spool.takes, spool.why) if spool is not None else None


def check_temporal() -> PartHealth:
    host, _, port = settings.TEMPORAL_ADDRESS.rpartition(":")
    return check_address(host, int(port), "Temporal")


def check_llm() -> PartHealth:
    """Whether its address answers; `why` also says which models are left alone for a while."""
    found = check_llm_address()
    if found.ok and (why := get_open_breakers()):
        return PartHealth(True, why)
    return found


def with_providers(llm: PartHealth, told: Told) -> PartHealth:
    """With each provider that pipelines ask. That of the settings matters only if it is one."""
    providers = tuple(get_providers(told))
    if providers and all(provider.name != SETTINGS_SLUG for provider in providers):
        llm = PartHealth(True, llm.why if llm.ok else "")
    faults = " ".join(
        f"Provider {provider.name}: {provider.why}"
        for provider in providers
        if provider.is_wrong and provider.name != SETTINGS_SLUG
    )
    why = f"{llm.why} {faults}".strip()
    return replace(llm, ok=llm.ok and not faults, why=why, providers=providers)


def get_open_breakers() -> str:
    """A sentence for each; nothing where none is open, or the queue server is down."""
    try:
        breakers = find_open()
    except QueueError:
        return ""
    return " ".join(
        f"The circuit breaker of {each.model} at {each.provider} is open since "
        f"{each.since:%H:%M:%S} UTC, next probe {each.probe_at:%H:%M:%S} UTC."
        for each in breakers
    )


def check_llm_address() -> PartHealth:
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
    """The health of every part, by name. Asks all at once: one that is frozen takes a second."""
    checks = {"queue": check_queue, "temporal": check_temporal, "llm": check_llm}
    with ThreadPoolExecutor(len(checks) + 1, "health") as pool:
        told = pool.submit(read_told)
        asked = {name: pool.submit(check) for name, check in checks.items()}
        database = check_database()
        parts = {"database": database} | {name: answer.result() for name, answer in asked.items()}
    if (spool := check_spool()) is not None:
        parts["spool"] = spool
    if database.ok:
        parts["llm"] = with_providers(parts["llm"], told.result())
        parts |= {part: check_heartbeat(part, age) for part, age in get_ages_s().items()}
    return parts
