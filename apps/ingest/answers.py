"""What a sender reads: 202, 200 for a duplicate, or a problem document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from apps.sources.rules import Rules
from apps.sources.schemes import Answer as SchemeAnswer

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]
"""status, headers, body"""

# A 204 has no Content-Length either.
NO_CONTENT: Answer = (204, [], b"")

_ACCEPTED = b'{"id": "evt_%b", "duplicate": false}'
_DUPLICATE = b'{"id": "evt_%b", "duplicate": true}'
_IGNORED = b'{"ignored": true}'
_EVENT_ID_HEX = b"0" * 32


def _json_headers(body: bytes) -> Headers:
    length = str(len(body)).encode()
    return [(b"content-type", b"application/json"), (b"content-length", length)]


# Every answer of a kind has the same length, so its headers are made once.
_ACCEPTED_HEADERS = _json_headers(_ACCEPTED % _EVENT_ID_HEX)
_DUPLICATE_HEADERS = _json_headers(_DUPLICATE % _EVENT_ID_HEX)
IGNORED: Answer = (200, _json_headers(_IGNORED), _IGNORED)
"""200 without an id: an event of a type that the source does not take, and nothing is stored."""


def accepted(event_id: bytes) -> Answer:
    """202: the event is on disk. `event_id` is 32 hex digits."""
    return 202, _ACCEPTED_HEADERS, _ACCEPTED % event_id


def duplicate(event_id: bytes) -> Answer:
    """200: it was there already, as this event."""
    return 200, _DUPLICATE_HEADERS, _DUPLICATE % event_id


def fixed(answer: SchemeAnswer) -> Answer:
    """What this provider insists on reading, for new and duplicate alike."""
    return plain(answer.status, answer.content_type, answer.body.encode())


def chosen(rules: Rules) -> Answer | None:
    """The answer that the source's own rules give instead of these; None where they give none."""
    if rules.answer == "empty":
        return 200, [(b"content-length", b"0")], b""
    if rules.answer == "no_content":
        return NO_CONTENT
    if rules.answer == "twiml":
        return plain(200, "text/xml", b"<Response/>")
    if rules.answer == "own":
        if rules.answer_status == 204:
            return NO_CONTENT
        return plain(rules.answer_status, rules.answer_type, rules.answer_body.encode())
    return None


def plain(
    status: int, content_type: str, body: bytes, headers: Mapping[bytes, bytes] | None = None
) -> Answer:
    """An answer with a body of its own, such as a handshake's."""
    length = str(len(body)).encode()
    own = [(b"content-type", content_type.encode()), (b"content-length", length)]
    return status, [*own, *(headers or {}).items()], body


def problem(status: int, code: str, detail: str, headers: Headers) -> Answer:
    """RFC 9457: `detail` says what to do, `code` is for machines."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    status, own, body = plain(status, "application/problem+json", json.dumps(document).encode())
    return status, own + headers, body
