"""The kinds of what is masked, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping

EMAIL, PHONE, CARD, IBAN, NATIONAL_ID = "email", "phone", "card", "iban", "national_id"
KINDS = (EMAIL, PHONE, CARD, IBAN, NATIONAL_ID)
FIELD = "field"  # the whole value at a path of one's own
PATTERN = "pattern"  # a match of a pattern of one's own

LABELS = {
    EMAIL: "E-mail addresses",
    PHONE: "Phone numbers",
    CARD: "Payment cards",
    IBAN: "Bank accounts (IBAN)",
    NATIONAL_ID: "National ids",
}
_WORDS = {
    EMAIL: ("e-mail address", "e-mail addresses"),
    PHONE: ("phone number", "phone numbers"),
    CARD: ("card number", "card numbers"),
    IBAN: ("IBAN", "IBANs"),
    NATIONAL_ID: ("national id", "national ids"),
    FIELD: ("field", "fields"),
    PATTERN: ("match of your own patterns", "matches of your own patterns"),
}


def describe_counts(counts: Mapping[str, int]) -> str:
    """`3 e-mail addresses and 1 card number`; empty where nothing was masked."""
    parts = [
        f"{counts[kind]} {one if counts[kind] == 1 else many}"
        for kind, (one, many) in _WORDS.items()
        if counts.get(kind)
    ]
    *rest, last = parts or [""]
    return f"{', '.join(rest)} and {last}" if rest else last
