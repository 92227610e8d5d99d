"""The family in which the sender just repeats the secret in a header."""

from __future__ import annotations

from hmac import compare_digest

from apps.sources.schemes.base import BadSignature, MissingSignature, Request, Verified, Verifier
from apps.sources.schemes.encodings import decode_key
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import OptionField, Options, WrongOptions, first_value

FIELDS = (
    OptionField("header", "Header with the secret"),
    OptionField("prefix", "Text before the secret", help="For example “Bearer ” with its space."),
)


class TokenVerifier(Verifier):
    """Compares a header with each secret."""

    def __init__(self, setup: Setup) -> None:
        self._headers = setup.options.headers("header")
        if not self._headers:
            raise WrongOptions("header", "Say which header carries the secret.")
        prefix = setup.options.text("prefix").encode("utf-8")
        self._tokens = [prefix + decode_key("text", secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        return self._labels.verified(request, self.matching_secret(request))

    def matching_secret(self, request: Request) -> int:
        """The index of the secret that the header repeats; raises a `SignatureRefused`."""
        refuse_without_secret(self._tokens)
        given = first_value(request.headers, self._headers)
        if not given:
            name = self._headers[0].decode()
            raise MissingSignature(f"The header {name} is missing or empty.")
        for index, token in enumerate(self._tokens):
            if compare_digest(token, given):
                return index
        raise BadSignature("The header's value is none of the active secrets.")


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    return {options.first_header("header"): options.text("prefix") + event.secret}


FAMILY = Family("token", FIELDS, TokenVerifier, sign)
