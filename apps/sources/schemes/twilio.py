"""Twilio: the URL and the form's parameters; for other bodies the URL carries their hash."""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from urllib.parse import parse_qs, urlsplit, urlunsplit

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.form import CONTENT_TYPE, is_form, signed_parameters
from apps.sources.schemes.keys import Key, make_key
from apps.sources.schemes.options import PUBLIC_URL_FIELD, OptionField, Options

HEADER = "X-Twilio-Signature"
HASH_PARAMETER = "bodySHA256"
_DEFAULT_PORTS = {"https": 443, "http": 80}

FIELDS: tuple[OptionField, ...] = (PUBLIC_URL_FIELD,)


class TwilioVerifier(Verifier):
    """The URL is tried with and without its port: Twilio's products differ in that."""

    def __init__(self, setup: Setup) -> None:
        self._url = setup.options.text("public_url")
        self._keys = [_key(secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        given = request.headers.get(HEADER.lower().encode("ascii"))
        if not given:
            raise MissingSignature(f"The header {HEADER} is missing or empty.")
        url = self._url or request.url
        parameters = _parameters(request, url)
        messages = [each.encode("utf-8") + parameters for each in _with_and_without_port(url)]
        for index, key in enumerate(self._keys):
            if any(key.matches(message, [given]) for message in messages):
                return self._labels.verified(request, index)
        raise BadSignature(
            "The signature matches none of the active secrets; is the URL the one that Twilio "
            "was given?"
        )


def _key(secret: str) -> Key:
    return make_key("hmac-sha1", "text", "base64", b"", secret)


def _parameters(request: Request, url: str) -> bytes:
    if is_form(request):
        return signed_parameters(request)
    if request.body:
        _check_body_hash(request.body, url)
    return b""


def _check_body_hash(body: bytes, url: str) -> None:
    """Without a form the URL alone is signed: it must carry the body's hash."""
    hashes = parse_qs(urlsplit(url).query).get(HASH_PARAMETER)
    if not hashes:
        raise MalformedSignature("The signature does not cover a body that is no form.")
    right = hashlib.sha256(body).hexdigest().encode("ascii")
    if not compare_digest(right, hashes[0].lower().encode("utf-8")):
        raise BadSignature("The body is not the one whose hash the URL carries.")


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    if parts.port:
        other = parts.netloc.removesuffix(f":{parts.port}")
    else:
        other = f"{parts.netloc}:{_DEFAULT_PORTS.get(parts.scheme)}"
    return [url, urlunsplit(parts._replace(netloc=other))]


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    headers = {"Content-Type": CONTENT_TYPE.decode("ascii")}
    seen = {b"content-type": CONTENT_TYPE}
    parameters = signed_parameters(Request("POST", event.url, seen, event.body, event.now))
    url = options.text("public_url") or event.url
    signature = _key(event.secret).sign(url.encode("utf-8") + parameters)
    return headers | {HEADER: signature.decode("ascii")}


FAMILY = Family("twilio", FIELDS, TwilioVerifier, sign, is_form=True)
