"""Reads a request: its headers, and the raw body up to the source's limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

from apps.ingest.refusals import BodyTooLarge, BodyTooSlow, EncodedBody, RepeatedHeader

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A body that comes in pieces may not keep a request open for ever.
BODY_TIMEOUT_S = 20.0

# Proxies repeat these, and no scheme reads them. Of any other header a second value could be
# the one that somebody else verified.
HARMLESS_REPEATS = {
    *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"cookie"),
    *(b"forwarded", b"pragma", b"via", b"x-forwarded-for", b"x-forwarded-host"),
    *(b"x-forwarded-port", b"x-forwarded-proto", b"traceparent", b"tracestate"),
}


class SenderGone(Exception):
    """The sender closed the connection before its body was complete: nobody waits."""


def read_headers(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name; raises RepeatedHeader."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        _check_repeats(pairs)
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise EncodedBody("Send the body without Content-Encoding: its bytes are what is signed.")
    return headers


def _check_repeats(pairs: list[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen and name not in HARMLESS_REPEATS:
            raise RepeatedHeader(f"Send the header {name.decode('ascii', 'replace')} once.")
        seen.add(name)


async def read_body(headers: dict[bytes, bytes], limit: int, receive: Receive) -> bytes:
    """The raw bytes; raises BodyTooLarge (early by Content-Length), BodyTooSlow, SenderGone."""
    length = headers.get(b"content-length")
    # isdigit: the server has refused anything that is no number.
    if length is not None and length.isdigit() and int(length) > limit:
        _refuse_size(limit)
    message = await receive() if length is not None else await _receive_in_time(receive)
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise SenderGone
    if len(body) > limit:
        _refuse_size(limit)
    return await _read_rest(body, limit, receive) if message.get("more_body") else body


async def _receive_in_time(receive: Receive) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await receive()
    except TimeoutError:
        raise too_slow() from None


async def _read_rest(start: bytes, limit: int, receive: Receive) -> bytes:
    pieces, size = [start], len(start)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise SenderGone
                piece = message.get("body", b"")
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    _refuse_size(limit)
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        raise too_slow() from None


def too_slow() -> BodyTooSlow:
    """The refusal of a body that is not there after BODY_TIMEOUT_S."""
    return BodyTooSlow(f"The body must arrive within {BODY_TIMEOUT_S:g} s.")


def _refuse_size(limit: int) -> NoReturn:
    raise BodyTooLarge(f"The body is larger than the {limit} bytes that this source takes.")


def explain_not_json(body: bytes) -> str:
    """The sentence for a body that is not JSON: where it ends to be, without a piece of it."""
    try:
        json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    except json.JSONDecodeError as error:
        return f"The body is not JSON (line {error.lineno}, column {error.colno})."
    except (ValueError, RecursionError):
        return "The body is JSON with a number too long or with too many levels."
    return "The body holds NaN or Infinity, which are not JSON."
