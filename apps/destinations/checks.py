"""Is a destination usable? Asked by form and API before it is saved."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from django.conf import settings

from apps.destinations.addresses import is_in, is_public, read_networks, resolve
from apps.destinations.egress import EgressRefused, check_url
from apps.destinations.kinds import KINDS

SECRET_PREFIX = "whsec_"  # noqa: S105 - how every secret begins, not one


class WrongDestination(ValueError):
    """One field can't be used: `field` is its name, `message` a plain sentence without secrets."""

    code = "wrong_destination"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def check_destination(*, kind: str, url: str = "", secret: str = "") -> None:
    """Raises `WrongDestination`. No name is looked up: that happens at each delivery."""
    if kind not in KINDS:
        raise WrongDestination("kind", f"It must be one of: {', '.join(KINDS)}.")
    if kind == "http":
        _check_http_url(url)
        _check_secret(secret)


def find_refusal(url: str) -> str:
    """Why a delivery to `url` would be refused now, in a sentence; "" where it would not.

    Only a warning: names are looked up again at each delivery, and EGRESS_ALLOW may change.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    try:
        addresses = resolve(parts.hostname, parts.port or 443)
    except (OSError, UnicodeError):
        return f"The name {parts.hostname} can't be found now: deliveries fail until it can."
    allowed = read_networks(settings.EGRESS_ALLOW)
    if all(is_public(address) or is_in(address, allowed) for address in addresses):
        return ""
    return (
        f"{parts.hostname} has a private address. Deliveries to it are refused until its network "
        "stands in EGRESS_ALLOW."
    )


def _check_http_url(url: str) -> None:
    try:
        check_url(url)
    except EgressRefused as error:
        raise WrongDestination("url", str(error)) from None


def _check_secret(secret: str) -> None:
    if not secret:
        return
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise WrongDestination(
            "secret", "It must be whsec_ followed by 24 to 64 bytes in base64, or empty."
        )
