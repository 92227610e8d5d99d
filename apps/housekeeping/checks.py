"""Settings that contradict each other or are missing stop the start, with what to do."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from apps.destinations.addresses import read_networks
from apps.ingest.peer import Proxies
from apps.streams.addresses import find_mistake
from apps.vault.vault import VaultError, encrypt


def has_secret_key() -> bool:
    """Django refuses to show an empty one."""
    try:
        return bool(settings.SECRET_KEY)
    except ImproperlyConfigured:
        return False


@register
def check_keys(**_: Any) -> list[CheckMessage]:
    """Without SECRET_KEY no session is safe; without VAULT_KEYS no secret can be stored."""
    found: list[CheckMessage] = []
    if not has_secret_key():
        found.append(
            Error(
                "SECRET_KEY is not set.",
                hint="Start once with `python3 manage.py up`, or set it to 50 random characters.",
                id="pipeline_admin.E001",
            )
        )
    try:
        encrypt("probe")
    except VaultError as error:
        found.append(
            Error(
                str(error),
                hint="Start once with `python3 manage.py up`, or set VAULT_KEYS to a Fernet key.",
                id="pipeline_admin.E002",
            )
        )
    return found


@register
def check_queue_addresses(**_: Any) -> list[CheckMessage]:
    """The same server twice would be two shards that lose each other's order."""
    mistake = find_mistake(settings.QUEUE_URLS + settings.QUEUE_DRAIN_URLS)
    hint = "Each shard is a server, or a database number, of its own, with a name of its own."
    return [Error(mistake, hint=hint, id="pipeline_admin.E003")] if mistake else []


@register
def check_public_address(**_: Any) -> list[CheckMessage]:
    """Debug pages show settings to strangers."""
    if not (settings.DEBUG and settings.HTTPS):
        return []
    return [
        Warning(
            "DEBUG is on although PUBLIC_URL is served over TLS.",
            hint="Unset DEBUG.",
            id="pipeline_admin.W001",
        )
    ]


@register
def check_proxies(**_: Any) -> list[CheckMessage]:
    """A name would be believed by nobody, and "*" makes every sender the author of its address."""
    proxies = Proxies(settings.FORWARDED_ALLOW_IPS)
    found: list[CheckMessage] = []
    if proxies.unknown:
        found.append(
            Error(
                f"FORWARDED_ALLOW_IPS holds what is no address: {', '.join(proxies.unknown)}.",
                hint="Allowed are addresses and networks, comma-separated: 127.0.0.1,10.1.0.0/16.",
                id="pipeline_admin.E005",
            )
        )
    if proxies.trusts_all:
        found.append(
            Warning(
                "FORWARDED_ALLOW_IPS is *: whoever reaches this server can claim any address.",
                hint="Name the proxies, unless nothing but a proxy can reach it.",
                id="pipeline_admin.W002",
            )
        )
    return found


@register
def check_egress(**_: Any) -> list[CheckMessage]:
    """A word that is no network would fail the first delivery instead of the start."""
    try:
        read_networks(settings.EGRESS_ALLOW)
    except ValueError as error:
        return [
            Error(
                f"EGRESS_ALLOW holds what is no network: {error}.",
                hint="Allowed are networks, comma-separated: 10.1.0.0/16,127.0.0.1/32.",
                id="pipeline_admin.E004",
            )
        ]
    return []
