"""The family that signs a few fields inside the body, and carries the signature there too."""

from __future__ import annotations

import re
from typing import Any

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.body import Search, compile_path, read_body
from apps.sources.schemes.encodings import ENCODINGS, KEY_FORMS
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.keys import ALGORITHMS, make_key
from apps.sources.schemes.options import OptionField, Options, WrongOptions
from apps.sources.schemes.plain_paths import put
from apps.sources.schemes.stamp import TOLERANCE_FIELD
from apps.sources.schemes.timestamps import UNITS, Window

FIELDS = (
    OptionField("signature_path", "Signature: JMESPath"),
    OptionField(
        "signed",
        "What is signed",
        help="Pieces: {JMESPath}; all else is literal.",
        keeps_spaces=True,
    ),
    OptionField("algorithm", "Algorithm", kind="choice", default="hmac-sha256", choices=ALGORITHMS),
    OptionField(
        "encoding", "Encoding of the signature", kind="choice", default="hex", choices=ENCODINGS
    ),
    OptionField("key_form", "Form of the key", kind="choice", default="text", choices=KEY_FORMS),
    OptionField("timestamp_path", "Timestamp: JMESPath"),
    OptionField(
        "timestamp_unit", "Timestamp: form", kind="choice", default="seconds", choices=UNITS
    ),
    TOLERANCE_FIELD,
)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class BodyFieldsVerifier(Verifier):
    """The rest of the body is not covered: the event's id must come from a signed field."""

    def __init__(self, setup: Setup) -> None:
        options = setup.options
        self._signature = compile_path("signature_path", options.text("signature_path"))
        self._template = _compile(options.text("signed"))
        self._stamp = compile_path("timestamp_path", options.text("timestamp_path"))
        tolerance_s = options.number("tolerance_s")
        unit = options.text("timestamp_unit")
        self._window = None if tolerance_s is None else Window(unit, tolerance_s)
        self._keys = [_key(options, secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._keys)
        document = read_body(request)
        signature = _field(self._signature, document)
        message = _message(self._template, document)
        if self._window:
            self._window.check(_field(self._stamp, document), request.now)
        for index, key in enumerate(self._keys):
            if key.matches(message, [signature]):
                return self._labels.verified(request, index)
        raise BadSignature("The signature in the body matches none of the active secrets.")


def _key(options: Options, secret: str) -> Any:
    form, encoding = options.text("key_form"), options.text("encoding")
    return make_key(options.text("algorithm"), form, encoding, b"", secret)


def _compile(template: str) -> list[bytes | Search]:
    """Literals and searches by turns."""
    pieces = _PLACEHOLDER.split(template)
    if len(pieces) < 2:
        raise WrongOptions("signed", "What is signed must name fields of the body.")
    return [
        compile_path("signed", piece) if place % 2 else piece.encode("utf-8")
        for place, piece in enumerate(pieces)
    ]


def _message(template: list[bytes | Search], document: Any) -> bytes:
    return b"".join(
        part if isinstance(part, bytes) else _field(part, document) for part in template
    )


def _field(search: Search, document: Any) -> bytes:
    value = search(document)
    if value is None or value == "":
        raise MissingSignature("The body lacks its signature or a field that is signed.")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedSignature("A signed field of the body is neither text nor a number.")
    return str(value).encode("utf-8", "surrogatepass")


def fill(options: Options, event: Outgoing, body: dict[str, Any]) -> dict[str, Any]:
    """The body with what is signed (the event's id, where nothing else is known) and signed."""
    for path in _PLACEHOLDER.findall(options.text("signed")):
        if compile_path("signed", path)(body) is None:
            body = put(body, path, event.event_id)
    message = _message(_compile(options.text("signed")), body)
    signature = _key(options, event.secret).sign(message).decode("ascii")
    return put(body, options.text("signature_path"), signature)  # type: ignore[no-any-return]


FAMILY = Family("body_fields", FIELDS, BodyFieldsVerifier, fill=fill)
