"""HubSpot: v3 is an HMAC over method, URL, body and time; v1 and v2 are plain SHA-256."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from hmac import compare_digest

from apps.sources.schemes import template
from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.encodings import decode_key
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import PUBLIC_URL_FIELD, Options
from apps.sources.schemes.stamp import TOLERANCE_FIELD

_V3 = {
    "header": "X-HubSpot-Signature-v3",
    "signed": "{method}{url}{body}{timestamp}",
    "encoding": "base64",
    "timestamp_header": "X-HubSpot-Request-Timestamp",
    "timestamp_unit": "milliseconds",
}
_DECODED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


class HubSpotVerifier(Verifier):
    """Where the v3 header is there, only it counts: the older ones carry no time."""

    def __init__(self, setup: Setup) -> None:
        self._v3 = template.TemplateVerifier(replace(setup, options=_v3(setup.options)))
        self._secrets = [decode_key("text", secret) for secret in setup.secrets]
        self._url = setup.options.text("public_url")
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._secrets)
        if b"x-hubspot-signature-v3" in request.headers:
            return self._v3.verify(replace(request, url=_decoded(request.url)))
        given = request.headers.get(b"x-hubspot-signature")
        if not given:
            raise MissingSignature("The signature header (x-hubspot-signature-v3) is missing.")
        middle = self._signed_before_body(request)
        for index, secret in enumerate(self._secrets):
            right = hashlib.sha256(b"%b%b%b" % (secret, middle, request.body)).hexdigest()
            if compare_digest(right.encode("ascii"), given):
                return self._labels.verified(request, index)
        raise BadSignature("The signature matches none of the active secrets.")

    def _signed_before_body(self, request: Request) -> bytes:
        version = request.headers.get(b"x-hubspot-signature-version", b"v1")
        if version == b"v1":
            return b""
        if version == b"v2":
            return f"{request.method}{self._url or request.url}".encode()
        raise MalformedSignature("The signature's version is unknown.")


def _decoded(url: str) -> str:
    """HubSpot signs the URL with these few escapes undone."""
    return _DECODED.sub(lambda match: chr(int(match[1], 16)), url)


def _v3(options: Options) -> Options:
    defaults = {field.name: field.default for field in template.FIELDS}
    own = {
        "tolerance_s": options.number("tolerance_s"),
        "public_url": _decoded(options.text("public_url")),
    }
    return Options(defaults | _V3 | own)


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    return template.sign(_v3(options), replace(event, url=_decoded(event.url)))


FAMILY = Family("hubspot", (TOLERANCE_FIELD, PUBLIC_URL_FIELD), HubSpotVerifier, sign)
