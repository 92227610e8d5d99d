"""How long another server asks us to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 3600.0


def read_retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `retry-after-ms` or `Retry-After` (seconds or HTTP date) ask for, 0 to 3600.

    `headers` has lower-case names. None where there is no such header, or nonsense in it.
    """
    waits = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _until(headers.get("retry-after")),
    )
    wait_s = next((wait for wait in waits if wait is not None), None)
    return None if wait_s is None else min(max(wait_s, 0.0), MAX_WAIT_S)


def _number(text: str | None, unit_s: float) -> float | None:
    if text is None:
        return None
    try:
        number = float(text) * unit_s
    except ValueError:
        return None
    return number if number >= 0 else None  # also drops NaN


def _until(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
