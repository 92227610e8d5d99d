"""The large family: a signature over a template of id, timestamp, URL, headers and body.

Most providers are rows of it, and so is the custom scheme that an admin fills in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.encodings import ENCODINGS, KEY_FORMS
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.form import CONTENT_TYPE
from apps.sources.schemes.keys import ALGORITHMS, Key, make_key
from apps.sources.schemes.message import compile_message
from apps.sources.schemes.options import (
    PUBLIC_URL_FIELD,
    OptionField,
    Options,
    WrongOptions,
    header_name,
)
from apps.sources.schemes.stamp import STAMP_FIELDS, Stamp
from apps.sources.schemes.timestamps import format_timestamp

MAX_SIGNATURES = 20
PUBLIC_KEY_PREFIX = "whpk_"

FIELDS = (
    OptionField(
        "header",
        "Signature header",
        help="Several, separated by commas, where the provider sends one for each of its keys.",
    ),
    OptionField(
        "prefix", "Prefix of a signature", help="For example sha256= or v1=", keeps_spaces=True
    ),
    OptionField(
        "separator",
        "Separator in the header",
        help="Set where one header holds several signatures, or a timestamp too: a comma, a "
        "semicolon or a space.",
        keeps_spaces=True,
    ),
    OptionField(
        "signed",
        "What is signed",
        default="{body}",
        help="Pieces: {id} {timestamp} {body} {method} {url} {params} {header:NAME}; all else is "
        "literal. {params} is name and value of each form parameter, sorted.",
        keeps_spaces=True,
    ),
    OptionField("algorithm", "Algorithm", kind="choice", default="hmac-sha256", choices=ALGORITHMS),
    OptionField(
        "encoding", "Encoding of the signature", kind="choice", default="hex", choices=ENCODINGS
    ),
    OptionField("key_form", "Form of the key", kind="choice", default="text", choices=KEY_FORMS),
    *STAMP_FIELDS,
    OptionField("id_header", "Message id: header", help="Where {id} is signed."),
    OptionField(
        "required_headers",
        "Headers that must be so",
        help="For example X-App-Key: 1234; several are separated by ;",
    ),
    PUBLIC_URL_FIELD,
)


class TemplateVerifier(Verifier):
    """Finds the signatures and the timestamp, builds the signed bytes, asks each key."""

    def __init__(self, setup: Setup) -> None:
        options = setup.options
        self._headers = signature_headers(options)
        self._prefix = options.text("prefix").encode("utf-8")
        self._separator = options.text("separator").encode("utf-8")
        self._required = required_headers(options)
        self._stamp = Stamp(options)
        self._message = compile_message(options)
        self._keys = [template_key(options, secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        for name, value in self._required:
            if request.headers.get(name) != value:
                raise MalformedSignature(f"The header {name.decode()} is not as it must be.")
        signatures = self._signatures(request.headers)
        message = self._message(request, self._stamp.read(request, signatures))
        for index, key in enumerate(self._keys):
            if key.matches(message, signatures):
                return self._labels.verified(request, index)
        raise self._mismatch(signatures)

    def _signatures(self, headers: Mapping[bytes, bytes]) -> list[bytes]:
        """Every candidate, with its prefix; among them the timestamp where it stands there."""
        values = [value for name in self._headers if (value := headers.get(name))]
        if not values:
            names = ", ".join(name.decode() for name in self._headers[:2])
            raise MissingSignature(f"The signature header ({names}) is missing or empty.")
        if not self._separator:
            return values
        parts = [part.strip() for value in values for part in value.split(self._separator)]
        if len(parts) > MAX_SIGNATURES:
            raise MalformedSignature(f"The header holds more than {MAX_SIGNATURES} parts.")
        return parts

    def _mismatch(self, signatures: Sequence[bytes]) -> MalformedSignature | BadSignature:
        if not any(part.startswith(self._prefix) for part in signatures):
            prefix = self._prefix.decode("utf-8")
            return MalformedSignature(f"No signature in the header begins with “{prefix}”.")
        count = len(self._keys)
        secrets = "the active secret" if count == 1 else f"any of {count} active secrets"
        return BadSignature(f"The signature does not match {secrets}.")


def template_key(options: Options, secret: str) -> Key:
    """One secret as a key; whpk_ marks the public keys of Standard Webhooks' v1a."""
    prefix, encoding = options.text("prefix").encode("utf-8"), options.text("encoding")
    form = options.text("key_form")
    if form == "whsec" and secret.startswith(PUBLIC_KEY_PREFIX):
        public = secret.removeprefix(PUBLIC_KEY_PREFIX)
        return make_key("ed25519", "base64", encoding, b"v1a,", public)
    return make_key(options.text("algorithm"), form, encoding, prefix, secret)


def signature_headers(options: Options) -> tuple[bytes, ...]:
    found = options.headers("header")
    if not found:
        raise WrongOptions("header", "Say which header carries the signature.")
    return found


def required_headers(options: Options) -> list[tuple[bytes, bytes]]:
    """[(name, value)] out of "Name: value; Name: value"."""
    found = []
    for entry in options.text("required_headers").split(";"):
        name, colon, value = entry.partition(":")
        if entry.strip():
            if not colon:
                raise WrongOptions("required_headers", "Write Name: value.")
            found.append((header_name("required_headers", name.strip()), value.strip().encode()))
    return found


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    """The headers of a signed request. Raises `WrongOptions` where the key cannot sign."""
    stamp = format_timestamp(event.now, options.text("timestamp_unit"))
    headers = dict(entry.split(":", 1) for entry in _entries(options))
    if id_header := options.first_header("id_header"):
        headers[id_header] = event.event_id
    if timestamp_header := options.first_header("timestamp_header"):
        headers[timestamp_header] = stamp
    if "{params}" in options.text("signed"):
        headers["Content-Type"] = CONTENT_TYPE.decode("ascii")
    seen = {name.lower().encode(): value.strip().encode() for name, value in headers.items()}
    message = compile_message(options)
    signed = message(Request("POST", event.url, seen, event.body, event.now), stamp.encode())
    signature = template_key(options, event.secret).sign(signed).decode("utf-8")
    if timestamp_prefix := options.text("timestamp_prefix"):
        signature = f"{timestamp_prefix}{stamp}{options.text('separator')}{signature}"
    headers[options.first_header("header")] = signature
    return {name: value.strip() for name, value in headers.items()}


def _entries(options: Options) -> list[str]:
    entries = options.text("required_headers").split(";")
    return [entry.strip() for entry in entries if entry.strip()]


FAMILY = Family("template", FIELDS, TemplateVerifier, sign)
