"""Reads a request: its headers, and the raw body up to the source's limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

import jiter

from apps.ingest.refusals import BodyTooLarge, BodyTooSlow, EncodedBody, NotJson, RepeatedHeader

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
        raise BodyTooSlow(f"The body must arrive within {BODY_TIMEOUT_S:g} s.") from None


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
        raise BodyTooSlow(f"The body must arrive within {BODY_TIMEOUT_S:g} s.") from None


def _refuse_size(limit: int) -> NoReturn:
    raise BodyTooLarge(f"The body is larger than the {limit} bytes that this source takes.")


def check_json(body: bytes) -> None:
    """Raises NotJson unless the body is one JSON text in UTF-8, without NaN or Infinity.

    jiter takes a quarter of the time of the standard library (4.7 µs against 17.8 for 1.8 kB),
    but is stricter than RFC 8259 (lone surrogates, depth), so its "no" is not the last word.
    """
    try:
        jiter.from_json(body, allow_inf_nan=False, cache_mode="none")
    except ValueError:
        _check_json_again(body)


def _check_json_again(body: bytes) -> None:
    try:
        json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise NotJson("The body is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotJson(f"The body is not valid JSON{where}.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
