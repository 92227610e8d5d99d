"""Is a destination usable? Asked by form and API before it is saved."""

from __future__ import annotations

import base64
import binascii

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
