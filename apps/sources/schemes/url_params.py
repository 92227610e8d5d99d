"""Twilio and Mandrill: HMAC-SHA1 over the URL and the form's parameters, sorted by name."""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.keys import make_key
from apps.sources.schemes.options import PUBLIC_URL_FIELD, OptionField, Options

_YES_NO = (("", "No"), ("yes", "Yes"))
_DEFAULT_PORTS = {"https": 443, "http": 80}
_FORM = b"application/x-www-form-urlencoded"
MAX_PARAMETERS = 1000

FIELDS = (
    OptionField("header", "Signature header"),
    OptionField("any_port", "Try the URL with and without port", kind="choice", choices=_YES_NO),
    OptionField(
        "body_hash_parameter",
        "Query parameter with the body's SHA-256",
        help="Where a body that is no form is covered by its hash in the URL.",
    ),
    PUBLIC_URL_FIELD,
)


class UrlParamsVerifier(Verifier):
    """The signature covers the decoded parameters, not the bytes of the form."""

    def __init__(self, setup: Setup) -> None:
        options = setup.options
        (self._header,) = options.headers("header")
        self._url = options.text("public_url")
        self._any_port = bool(options.text("any_port"))
        self._body_hash = options.text("body_hash_parameter")
        self._keys = [
            make_key("hmac-sha1", "text", "base64", b"", secret) for secret in setup.secrets
        ]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        given = request.headers.get(self._header)
        if not given:
            raise MissingSignature(f"The header {self._header.decode()} is missing or empty.")
        url = self._url or request.url
        parameters = self._parameters(request, url)
        urls = _with_and_without_port(url) if self._any_port else [url]
        for index, key in enumerate(self._keys):
            if any(key.matches((each + parameters).encode("utf-8"), [given]) for each in urls):
                return self._labels.verified(request, index)
        raise BadSignature(
            "The signature matches none of the active secrets; is the URL the one that the "
            "provider was given?"
        )

    def _parameters(self, request: Request, url: str) -> str:
        if request.headers.get(b"content-type", b"").lower().startswith(_FORM):
            return joined_parameters(request.body)
        if request.body:
            self._check_body_hash(request.body, url)
        return ""

    def _check_body_hash(self, body: bytes, url: str) -> None:
        """Without a form the URL alone is signed: it must carry the body's hash."""
        hashes = parse_qs(urlsplit(url).query).get(self._body_hash) if self._body_hash else None
        if not hashes:
            raise MalformedSignature("The signature does not cover a body that is no form.")
        if not compare_digest(hashlib.sha256(body).hexdigest(), hashes[0].lower()):
            raise BadSignature("The body is not the one whose hash the URL carries.")


def joined_parameters(body: bytes) -> str:
    """name + value of each parameter, sorted, repeats once; raises MalformedSignature."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=MAX_PARAMETERS,
            errors="strict",
        )
    except ValueError:
        raise MalformedSignature("The body is not a readable form.") from None
    return "".join(name + value for name, value in sorted(set(pairs)))


def _with_and_without_port(url: str) -> list[str]:
    """Twilio signs the one or the other, depending on the product."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    bare = urlunsplit(parts._replace(netloc=host))
    return [url, bare] if parts.port else [url, urlunsplit(parts._replace(netloc=f"{host}:{port}"))]


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    key = make_key("hmac-sha1", "text", "base64", b"", event.secret)
    url = options.text("public_url") or event.url
    signature = key.sign((url + joined_parameters(event.body)).encode("utf-8")).decode("ascii")
    return {
        "Content-Type": _FORM.decode("ascii"),
        options.first_header("header"): signature,
    }


FAMILY = Family("url_params", FIELDS, UrlParamsVerifier, sign)
