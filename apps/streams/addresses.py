"""The servers of QUEUE_URL and QUEUE_DRAIN_URL, each with the name that its shard has for ever.

The name decides which events go to a shard and stands on pages and in metrics. So it must not
change when another server comes or goes, nor with a password: it is where the server listens, or
what the address says behind a `#`, for a server that may move.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings

NAME = re.compile(r"[A-Za-z0-9._:/-]{1,60}")
DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """A server of the queue; `is_draining`: it is only read any more."""

    name: str
    url: str
    is_draining: bool = False


def get_addresses() -> list[Address]:
    """The shards that take events."""
    return [Address(get_name(url), url) for url in settings.QUEUE_URLS]


def get_all_addresses() -> list[Address]:
    """Those, then the ones that are drained: whoever reads, counts or settles wants these."""
    draining = [Address(get_name(url), url, True) for url in settings.QUEUE_DRAIN_URLS]
    return get_addresses() + draining


def get_name(url: str) -> str:
    """The name of a server's shard: never empty, without user and password."""
    return unquote(urlsplit(url).fragment) or get_place(url)


def get_place(url: str) -> str:
    """Where a server listens, with the number of the database unless it is 0."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme == "unix":
        place, number = unquote(parts.path), asked
    else:
        place = f"{parts.hostname or 'localhost'}:{parts.port or DEFAULT_PORT}"
        number = asked or parts.path.strip("/")
    return f"{place}/{number}" if number.strip("0") else place


def find_mistake(urls: list[str]) -> str:
    """Why these servers can't be the shards of one queue, as a sentence; '' where they can."""
    try:
        names, places = [get_name(url) for url in urls], [get_place(url) for url in urls]
    except ValueError:  # its text may hold a piece of a password
        return (
            "An address in QUEUE_URL or QUEUE_DRAIN_URL can't be read: its port must be a number, "
            "and special characters of a password are written as %40."
        )
    for url, name, place in zip(urls, names, places, strict=True):
        if places.count(place) > 1:
            return f"QUEUE_URL and QUEUE_DRAIN_URL name the same server twice: {place}."
        if names.count(name) > 1:
            return f"QUEUE_URL and QUEUE_DRAIN_URL give two servers the name {name}."
        if urlsplit(url).fragment and not NAME.fullmatch(name):
            return (
                f"A shard has the name {name!r}: allowed are up to 60 letters, digits and "
                "characters of ._:/-"
            )
    return ""
