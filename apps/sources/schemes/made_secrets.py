"""Making up a signing secret that a scheme can use."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

from apps.sources.schemes.options import WrongOptions
from apps.sources.schemes.providers import PROVIDERS
from apps.sources.schemes.registry import SCHEMES, build_verifier


def can_make_secret(scheme: str) -> bool:
    """Whether a secret of our own making is any use: not where the provider's is a public key."""
    return scheme in SCHEMES and SCHEMES[scheme].needs_secret and SCHEMES[scheme].can_sign


def make_secret(scheme: str, options: Mapping[str, object] | None = None) -> str:
    """32 random bytes, in the form that the scheme reads: text, hex, base64, whsec_… or
    user:password. Raises `WrongOptions` where none can be made up (a public key, an unknown
    scheme).
    """
    refusal = WrongOptions("secrets", "The secret is the sender's: none can be made up here.")
    if not can_make_secret(scheme):
        raise refusal
    key = secrets.token_bytes(32)
    standard, plain = "whsec_" + base64.b64encode(key).decode("ascii"), key.hex()
    candidates = [plain, standard, f"webhook:{plain}"]
    given = options or {}
    if given.get("key_form", _get_default(scheme, "key_form")) == "whsec":
        candidates.insert(0, standard)
    for value in candidates:
        try:
            build_verifier(scheme, given, [value])
        except WrongOptions as error:
            refusal = error
        else:
            return value
    raise refusal


def _get_default(scheme: str, option: str) -> object:
    defaults = {field.name: field.default for field in PROVIDERS[scheme].fields}
    return defaults.get(option)
