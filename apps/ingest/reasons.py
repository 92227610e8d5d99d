"""What a person reads for the machine words of refusals: a short name, and what to do."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    label: str
    advice: str


_OTHER_KEY = (
    "Where the reason names no other cause, the secret differs: look it up at the provider, add it "
    "beside the old one, and verify again."
)
REASONS = {
    "bad_signature": Reason("Signature does not match", _OTHER_KEY),
    "no_secret": Reason("The source has no active secret", _OTHER_KEY),
    "missing_signature": Reason(
        "Signature is missing",
        "If the provider sent it: choose the right scheme or header for the source, then verify "
        "again. If a stranger did: discard it.",
    ),
    "malformed_signature": Reason(
        "Signature can’t be read",
        "Compare scheme, header and encoding of the source with what the provider sends, then "
        "verify again.",
    ),
    "stale_timestamp": Reason(
        "Timestamp too old",
        "If it only came late: allow a larger window in the source’s options, then verify again.",
    ),
    "future_timestamp": Reason(
        "Timestamp in the future",
        "Set the clock that is wrong. To take this one in, allow a larger window in the source’s "
        "options, then verify again.",
    ),
    "untrusted_certificate": Reason(
        "Certificate is not the provider’s", "It is probably forged: discard it."
    ),
    "not_json": Reason(
        "Body is not JSON", "No setting makes it good: the sender must send JSON. Then discard it."
    ),
    "wrong_content_type": Reason(
        "Wrong content type",
        "The sender must name the type of what it sends, or the source needs another scheme.",
    ),
    "off_schema": Reason(
        "Does not fit the JSON Schema",
        "If the schema is too narrow, change it in the source’s rules, then verify again.",
    ),
    "json_too_deep": Reason(
        "JSON has too many levels",
        "If it is all right, raise the limit in the source’s rules, then verify again.",
    ),
    "json_too_many_names": Reason(
        "JSON has too many names",
        "If it is all right, raise the limit in the source’s rules, then verify again.",
    ),
    "json_repeated_name": Reason(
        "JSON repeats a name",
        "If it is all right, allow that in the source’s rules, then verify again.",
    ),
}


def get_label(code: str) -> str:
    """A short name; the word itself, readable, where it has none."""
    return REASONS[code].label if code in REASONS else code.replace("_", " ").capitalize()


def get_advice(code: str) -> str:
    """What to do about it, a sentence or two."""
    if code in REASONS:
        return REASONS[code].advice
    return "Mend what the reason names, then verify again."
