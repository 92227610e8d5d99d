"""Making up a signing secret that a scheme can use."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

from apps.sources.schemes import SCHEMES, WrongOptions, build_verifier


def can_make_secret(scheme: str) -> bool:
    """Whether a secret of our own making is any use: not where the provider's is a public key."""
    return scheme in SCHEMES and SCHEMES[scheme].needs_secret and SCHEMES[scheme].can_sign


def make_secret(scheme: str, options: Mapping[str, object]) -> str:
    """32 random bytes, in the form that the scheme reads; raises `WrongOptions` where none is."""
    key = secrets.token_bytes(32)
    standard, plain = "whsec_" + base64.b64encode(key).decode(), key.hex()
    candidates = [standard, plain] if "whsec_" in SCHEMES[scheme].secret_help else [plain, standard]
    refusal: WrongOptions | None = None
    for value in candidates:
        try:
            build_verifier(scheme, options, [value])
        except WrongOptions as error:
            refusal = error
        else:
            return value
    raise refusal or WrongOptions("secrets", "No secret can be made up for this scheme.")
