"""Which provider sends the webhooks: the list that an administrator searches by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from apps.sources.schemes import SCHEMES, SchemeInfo

# Shown first, in this order.
MOST_USED = (
    *("github", "stripe", "slack", "shopify", "gitlab", "jira", "zendesk", "hubspot"),
    *("twilio", "sendgrid", "meta-whatsapp", "intercom", "notion", "linear", "typeform"),
    *("calendly", "woocommerce", "paddle", "zoom", "openai", "pagerduty", "sentry"),
)
# For senders that the list lacks: the scheme, and when to take it.
GENERAL: Mapping[str, str] = {
    "standard-webhooks": "Its documentation names Standard Webhooks or Svix, or its secret begins "
    "with whsec_.",
    "hmac": "It sends a signature in a header. You fill in which header, which algorithm and what "
    "is signed; its documentation says so.",
    "api-key": "It can send a fixed key or bearer token in a header, but no signature.",
    "basic-auth": "It can send a user name and a password, or takes them inside the URL.",
}
# Parts of a documentation's host that name nobody.
NAMELESS = frozenset(
    ("www", "docs", "developer", "developers", "dev", "api", "documentation", "com", "io", "org")
)


@dataclass(frozen=True, slots=True)
class Pick:
    """An entry of the list. `words` is what a search looks at, lower case."""

    info: SchemeInfo
    words: str
    note: str


def get_picks() -> dict[str, list[Pick]]:
    """`most_used` and `others` by name; `general` for senders that are in neither."""
    special = {*MOST_USED, *GENERAL}
    others = sorted(SCHEMES.keys() - special, key=lambda slug: SCHEMES[slug].label.lower())
    return {
        "most_used": [_pick(slug) for slug in MOST_USED],
        "others": [_pick(slug) for slug in others],
        "general": [_pick(slug, note) for slug, note in GENERAL.items()],
    }


def _pick(slug: str, note: str = "") -> Pick:
    info = SCHEMES[slug]
    host = set((urlsplit(info.docs_url).hostname or "").split(".")) - NAMELESS
    return Pick(info, " ".join((info.label, slug, *sorted(host))).lower(), note)


def describe_labels(info: SchemeInfo, options: Mapping[str, object]) -> dict[str, str]:
    """Where the event's `type` and `id` are read from, in plain words; "" for nowhere."""
    given = {**info.default_options, **options}
    return {what: _describe(given, what) for what in ("type", "id")}


def _describe(options: Mapping[str, object], what: str) -> str:
    header = str(options.get(f"event_{what}_header") or "").split(",")[0].strip()
    path = str(options.get(f"event_{what}_path") or "")
    places = [f"the header {header}"] if header else []
    places += [f"{path} in the body"] if path else []
    return ", or ".join(places)
