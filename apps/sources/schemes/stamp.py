"""Where a signed timestamp stands, and the replay window around it."""

from __future__ import annotations

from collections.abc import Sequence

from apps.sources.schemes.base import MissingSignature, Request
from apps.sources.schemes.body import compile_path, read_body
from apps.sources.schemes.options import OptionField, Options, WrongOptions, first_value
from apps.sources.schemes.timestamps import UNITS, Window

TOLERANCE_FIELD = OptionField(
    "tolerance_s",
    "Replay window in seconds",
    kind="number",
    default=None,
    help="How far the timestamp may lie from now. Empty: any age is accepted.",
)
STAMP_FIELDS = (
    OptionField("timestamp_header", "Timestamp: header"),
    OptionField(
        "timestamp_prefix",
        "Timestamp: prefix in the signature header",
        help="For example t= where the header reads t=1700000000,v1=…",
        keeps_spaces=True,
    ),
    OptionField("timestamp_path", "Timestamp: JMESPath", help="Where the body itself tells it."),
    OptionField(
        "timestamp_unit", "Timestamp: form", kind="choice", default="seconds", choices=UNITS
    ),
    TOLERANCE_FIELD,
)


class Stamp:
    """Reads the timestamp of a request and refuses one outside of the window."""

    __slots__ = ("_headers", "_is_signed", "_prefix", "_search", "_window")

    def __init__(self, options: Options) -> None:
        self._headers = options.headers("timestamp_header")
        self._prefix = options.text("timestamp_prefix").encode("utf-8")
        path = options.text("timestamp_path")
        self._search = compile_path("timestamp_path", path) if path else None
        self._is_signed = "{timestamp}" in options.text("signed")
        tolerance_s = options.number("tolerance_s")
        self._window = None
        if tolerance_s is not None and (self._is_signed or self._search):
            self._window = Window(options.text("timestamp_unit"), tolerance_s)
        self._check_options()

    def _check_options(self) -> None:
        if self._is_signed and not (self._headers or self._prefix or self._search):
            raise WrongOptions("signed", "{timestamp} is signed: say where the timestamp stands.")
        if (self._headers or self._prefix) and not self._is_signed:
            raise WrongOptions("signed", "A timestamp that is not signed proves nothing.")

    def read(self, request: Request, parts: Sequence[bytes]) -> bytes:
        """The timestamp as sent, b"" for a scheme without. Raises a `SignatureRefused`."""
        if self._headers:
            text = first_value(request.headers, self._headers)
        elif self._prefix:
            text = self._among(parts)
        elif self._search and (self._window or self._is_signed):
            text = str(self._search(read_body(request)) or "").encode("utf-8", "replace")
        else:
            return b""
        if not text:
            raise MissingSignature("The timestamp is missing.")
        if self._window:
            self._window.check(text, request.now)
        return text

    def _among(self, parts: Sequence[bytes]) -> bytes:
        prefix = self._prefix
        for part in parts:
            if part.startswith(prefix):
                return part[len(prefix) :]
        return b""
