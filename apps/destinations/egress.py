"""The one client for addresses that a person typed.

It resolves the host, checks every address, and connects to the checked address: a name that
points elsewhere a moment later changes nothing. No redirects, no proxies, bounded in time and
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class EgressError(Exception):
    """The request got no answer. `str()` is a sentence; it never quotes the other side."""

    code = "destination_unreachable"
    permanent = False


class EgressRefused(EgressError):
    """We don't send there: the sentence says why, and what to change."""

    code = "destination_refused_by_policy"
    permanent = True


@dataclass(frozen=True)
class Reply:
    """Status, headers (lower-case names) and at most 64 KB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def check_url(url: str) -> None:
    """Raises `EgressRefused` for an address nothing is ever sent to. Resolves no name."""


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
    """One POST, answered within about `timeout_s` in all. Raises `EgressError`."""
    raise EgressRefused("Not there yet.")
