"""Event ids: UUIDv7 (RFC 9562), shown as `evt_` and 32 hex digits."""

from __future__ import annotations

import os
import re
import time
import uuid

PUBLIC_ID = re.compile(r"evt_[0-9a-f]{32}")
KEY_MAX_CHARS = 255  # of an idempotency key
ENDINGS_AT_ONCE = 500
_endings: list[str] = []
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}


class WrongEventId(ValueError):
    """The text is not an event id."""

    code = "wrong_event_id"


def new_event_hex() -> str:
    """32 hex digits of a new UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{_take_ending()}"


def _take_ending() -> str:
    """The last 20 hex digits: version 7, 12 random bits, variant 10, 62 random bits.

    The system gives randomness for many at once for the price of one call (2 µs).
    """
    while True:
        try:
            return _endings.pop()
        except IndexError:
            fresh = os.urandom(10 * ENDINGS_AT_ONCE).hex()
            _endings.extend(
                f"7{fresh[at + 1 : at + 4]}{_VARIANT[fresh[at + 4]]}{fresh[at + 5 : at + 20]}"
                for at in range(0, len(fresh), 20)
            )


# A child must not make the ids that its parent will make.
os.register_at_fork(after_in_child=_endings.clear)


def new_event_id() -> uuid.UUID:
    """A new UUIDv7."""
    return uuid.UUID(hex=new_event_hex())


def get_public_id(event_id: uuid.UUID) -> str:
    return f"evt_{event_id.hex}"


def parse_public_id(text: str) -> uuid.UUID:
    """The UUID of `evt_<32 hex digits>`; raises WrongEventId."""
    if not PUBLIC_ID.fullmatch(text):
        raise WrongEventId("An event id looks like evt_ and 32 hex digits.")
    return uuid.UUID(hex=text[4:])
