"""The signed string: a template like "v0:{timestamp}:{body}" made into a function."""

from __future__ import annotations

import re
from collections.abc import Callable

from apps.sources.schemes.base import MissingSignature, Request
from apps.sources.schemes.form import signed_parameters
from apps.sources.schemes.options import Options, WrongOptions, first_value, header_name

Message = Callable[[Request, bytes], bytes]
"""(request, timestamp as sent) → the bytes that were signed. Raises MissingSignature."""

_Piece = Callable[[Request, bytes], bytes]
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def _body(request: Request, timestamp: bytes) -> bytes:
    return request.body


def _timestamp(request: Request, timestamp: bytes) -> bytes:
    return timestamp


def _method(request: Request, timestamp: bytes) -> bytes:
    return request.method.encode("ascii", "replace")


def _parameters(request: Request, timestamp: bytes) -> bytes:
    return signed_parameters(request)


_PIECES: dict[str, _Piece] = {
    "body": _body,
    "timestamp": _timestamp,
    "method": _method,
    "params": _parameters,
}


def _url_piece(public_url: str) -> _Piece:
    # Senders sign the URL as it was typed into their form: behind a proxy that rewrites it, or
    # with a password in it, only the admin knows that text.
    fixed = public_url.encode("utf-8")
    return lambda request, timestamp: fixed or request.url.encode("utf-8")


def _header_piece(names: tuple[bytes, ...]) -> _Piece:
    def piece(request: Request, timestamp: bytes) -> bytes:
        value = first_value(request.headers, names)
        if not value:
            name = names[0].decode()
            raise MissingSignature(f"The header {name} is missing, which is signed too.")
        return value

    return piece


def compile_message(options: Options) -> Message:
    """Made from the options signed, id_header, public_url. Raises `WrongOptions` ("signed")."""
    template = options.text("signed")
    if not ("{body}" in template or "{params}" in template) or "\0" in template:
        raise WrongOptions("signed", "What is signed must contain {body} (or {params} of a form).")
    if template == "{body}":
        return _body
    pieces = tuple(_piece(name, options) for name in _PLACEHOLDER.findall(template))
    literals = _PLACEHOLDER.sub("\0", template).encode("utf-8")
    form = literals.replace(b"%", b"%%").replace(b"\0", b"%b")

    def message(request: Request, timestamp: bytes) -> bytes:
        return form % tuple([piece(request, timestamp) for piece in pieces])

    return message


def _piece(name: str, options: Options) -> _Piece:
    if name == "id":
        id_headers = options.headers("id_header")
        if not id_headers:
            raise WrongOptions("signed", "{id} is signed: say which header carries it.")
        return _header_piece(id_headers)
    if name == "url":
        return _url_piece(options.text("public_url"))
    if name.startswith("header:"):
        return _header_piece((header_name("signed", name.removeprefix("header:")),))
    if name not in _PIECES:
        known = "} {".join(("id", *_PIECES, "url", "header:NAME"))
        raise WrongOptions("signed", f"“{{{name}}}” is unknown; there are {{{known}}}.")
    return _PIECES[name]
