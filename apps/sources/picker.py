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
    "jwt": "It sends a signed JSON Web Token in a header.",
    "hmac-body": "Its signature stands inside the body, beside the fields that are signed.",
    "body-token": "It repeats a fixed secret inside each body.",
    "url-token": "It can do none of these: the secret becomes a part of the URL.",
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
    others = [note] if note else sorted(host)
    return Pick(info, " ".join((info.label, slug, *others)).lower(), note)


def describe_labels(info: SchemeInfo, options: Mapping[str, object]) -> list[dict[str, str]]:
    """Where the event's type and id are read from: first the `header`, else the `path` in the
    body; "" for nowhere.
    """
    given = {**info.default_options, **options}
    return [
        {
            "what": what,
            "header": str(given.get(f"event_{name}_header") or "").split(",")[0].strip(),
            "path": str(given.get(f"event_{name}_path") or ""),
        }
        for name, what in (("type", "Type of an event"), ("id", "A repeat is recognised by"))
    ]
