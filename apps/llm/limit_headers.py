"""What a provider says about its own limits in the headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from apps.destinations.retry_after import MAX_WAIT_S, read_retry_after_s

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit, and the seconds until it is whole again."""

    limit: float
    left: float
    reset_s: float

    def get_pause_s(self, needed: float) -> float:
        """Seconds until `needed` is left, as the allowance grows back evenly; 0 where it is."""
        if self.left >= needed:
            return 0.0
        used = self.limit - self.left
        share = (needed - self.left) / used if used > 0 else 1.0
        return min(self.reset_s * min(share, 1.0), MAX_WAIT_S)


@dataclass(frozen=True)
class SeenLimits:
    """`retry_after_s` is None where the provider asked for no pause."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    retry_after_s: float | None = None

    def get_pause_s(self, tokens: int) -> float:
        """Seconds during which no call of so many tokens should leave; 0 where one may."""
        pauses = [self.retry_after_s or 0.0]
        if self.requests:
            pauses.append(self.requests.get_pause_s(1))
        if self.tokens:
            pauses.append(self.tokens.get_pause_s(tokens))
        return max(pauses)


NOTHING_SEEN = SeenLimits()


def read_limit_headers(headers: Mapping[str, str]) -> SeenLimits:
    """From `x-ratelimit-*` and `retry-after*`; `headers` has lower-case names, or ignores case."""
    return SeenLimits(
        _read_allowance(headers, "requests"),
        _read_allowance(headers, "tokens"),
        read_retry_after_s(headers),
    )


def _read_allowance(headers: Mapping[str, str], kind: str) -> Allowance | None:
    left = _read_number(headers.get(f"x-ratelimit-remaining-{kind}"))
    reset_s = _read_duration_s(headers.get(f"x-ratelimit-reset-{kind}"))
    if left is None or reset_s is None:
        return None
    limit = _read_number(headers.get(f"x-ratelimit-limit-{kind}"))
    return Allowance(left if limit is None else limit, left, reset_s)


def _read_number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) else None


def _read_duration_s(text: str | None) -> float | None:
    """`20ms`, `6m0s`, `1h2m3.5s`, or seconds without a unit; None where it is none of these."""
    if text and len(text) < 40 and _DURATION.fullmatch(text):
        return sum(float(number) * UNITS_S[unit] for number, unit in _PART.findall(text))
    return _read_number(text)
