"""When a request says it was signed, and whether that is close enough to now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import floor

from apps.sources.schemes.base import FutureTimestamp, MalformedSignature, StaleTimestamp

MAX_DIGITS = 14
"""Longer numbers are no time, in seconds or milliseconds, and would only cost work."""

UNITS: tuple[tuple[str, str], ...] = (
    ("seconds", "Unix time in seconds"),
    ("milliseconds", "Unix time in milliseconds"),
    ("iso8601", "ISO 8601 / RFC 3339 text"),
    ("http_date", "HTTP date text"),
)


def _seconds(text: bytes) -> float:
    # Not int() alone: it would also take b" +1_000 ".
    if not text.isdigit() or len(text) > MAX_DIGITS:
        raise ValueError
    return int(text)


def _milliseconds(text: bytes) -> float:
    return _seconds(text) / 1000


def _iso8601(text: bytes) -> float:
    moment = datetime.fromisoformat(text.decode("ascii"))
    return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()


def _http_date(text: bytes) -> float:
    return parsedate_to_datetime(text.decode("ascii")).timestamp()


_PARSERS: dict[str, Callable[[bytes], float]] = {
    "seconds": _seconds,
    "milliseconds": _milliseconds,
    "iso8601": _iso8601,
    "http_date": _http_date,
}


def format_timestamp(now: float, unit: str) -> str:
    """`now` (unix seconds) as a sender would write it."""
    if unit == "milliseconds":
        return str(int(now * 1000))
    if unit == "seconds":
        return str(int(now))
    moment = datetime.fromtimestamp(int(now), UTC)
    if unit == "iso8601":
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


class Window:
    """How far a timestamp may lie from now, in both directions, `tolerance_s` included."""

    __slots__ = ("_parse", "_tolerance_s")

    def __init__(self, unit: str, tolerance_s: float) -> None:
        self._parse = _PARSERS[unit]
        self._tolerance_s = tolerance_s

    def check(self, text: bytes, now: float) -> None:
        """Raises MalformedSignature, StaleTimestamp or FutureTimestamp."""
        try:
            signed_at = self._parse(text)
        except (ValueError, OverflowError):
            raise MalformedSignature("The timestamp is not a time in the expected form.") from None
        # Whole seconds of our clock: 300.4 s after a timestamp in seconds is "300 s old", as in
        # the providers' own libraries.
        age_s = floor(now) - signed_at
        if age_s > self._tolerance_s:
            raise StaleTimestamp(
                f"The timestamp is {age_s:.0f} s old; {self._tolerance_s:g} s are allowed.", age_s
            )
        if -age_s > self._tolerance_s:
            raise FutureTimestamp(
                f"The timestamp lies {-age_s:.0f} s in the future; "
                f"{self._tolerance_s:g} s are allowed. Is the clock right?",
                age_s,
            )
