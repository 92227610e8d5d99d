"""Keeps what was signed and how, so that a snippet can do the same in another language."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signing:
    """One signature by HMAC; `signature` is encoded, without the prefix that a header has."""

    algorithm: str
    key_form: str
    encoding: str
    message: bytes
    signature: bytes


signings: ContextVar[list[Signing] | None] = ContextVar("signings", default=None)
"""Where keys that are made now write down what they sign; None: nowhere."""


@contextmanager
def recorded_signings() -> Iterator[list[Signing]]:
    """Of each signature that is made inside."""
    found: list[Signing] = []
    token = signings.set(found)
    try:
        yield found
    finally:
        signings.reset(token)
