"""The family in which the sender just repeats the secret, in a header or in the URL."""

from __future__ import annotations

from hmac import compare_digest
from urllib.parse import parse_qs, quote, urlsplit

from apps.sources.schemes.base import BadSignature, MissingSignature, Request, Verified, Verifier
from apps.sources.schemes.encodings import decode_key
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import OptionField, Options, WrongOptions, first_value

FIELDS = (
    OptionField("header", "Header with the secret"),
    OptionField(
        "prefix",
        "Text before the secret",
        help="For example “Bearer ” with its space.",
        keeps_spaces=True,
    ),
    OptionField(
        "parameter",
        "Parameter of the URL with the secret",
        help="Instead of a header, where the sender can set none: …?token=<secret>. The URL, and "
        "so the secret, may be logged by whatever lies between.",
    ),
)


class TokenVerifier(Verifier):
    """Compares a header, or a parameter of the URL, with each secret."""

    def __init__(self, setup: Setup) -> None:
        self._headers = setup.options.headers("header")
        self._parameter = setup.options.text("parameter")
        if not (self._headers or self._parameter):
            raise WrongOptions("header", "Say which header carries the secret.")
        prefix = b"" if self._parameter else setup.options.text("prefix").encode("utf-8")
        self._tokens = [prefix + decode_key("text", secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        return self._labels.verified(request, self.matching_secret(request))

    def matching_secret(self, request: Request) -> int:
        """The index of the secret that the request repeats; raises a `SignatureRefused`."""
        refuse_without_secret(self._tokens)
        given = self._in_url(request) if self._parameter else self._in_header(request)
        for index, token in enumerate(self._tokens):
            if compare_digest(token, given):
                return index
        place = "parameter" if self._parameter else "header"
        raise BadSignature(f"The {place}'s value is none of the active secrets.")

    def _in_header(self, request: Request) -> bytes:
        given = first_value(request.headers, self._headers)
        if not given:
            name = self._headers[0].decode()
            raise MissingSignature(f"The header {name} is missing or empty.")
        return given

    def _in_url(self, request: Request) -> bytes:
        values = parse_qs(urlsplit(request.url).query).get(self._parameter, [])
        if len(values) != 1:
            raise MissingSignature(f"The URL must have the parameter {self._parameter} once.")
        return values[0].encode("utf-8")


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    if options.text("parameter"):
        return {}
    return {options.first_header("header"): options.text("prefix") + event.secret}


def address(options: Options, secret: str, url: str) -> str:
    """The URL as the sender must be given it."""
    name = options.text("parameter")
    if not name:
        return url
    between = "&" if "?" in url else "?"
    return f"{url}{between}{quote(name, safe='')}={quote(secret, safe='')}"


FAMILY = Family("token", FIELDS, TokenVerifier, sign, address=address)
