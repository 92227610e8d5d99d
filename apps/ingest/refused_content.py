"""The whole of a refused request in one piece, and what of it a person may see."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from apps.sources.schemes import Request

SHOWN_START = 6
# What is shown as it is; everything else may be a credential, also under a name of the sender's.
_PLAIN = re.compile(
    r"accept.*|content-.*|host|date|user-agent|via|forwarded|x-forwarded-.*|connection|expect"
    r"|traceparent|.*(event|type|topic|delivery|timestamp|version|time|id)"
)
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|signature|hmac|key|password|digest|cert")


def pack(request: Request) -> bytes:
    """A line of JSON (method, URL, time, headers) and the raw body, to be encrypted."""
    headers = [[name.decode("latin-1"), _text(value)] for name, value in request.headers.items()]
    head = {"method": request.method, "url": request.url, "now": request.now, "headers": headers}
    return json.dumps(head).encode() + b"\n" + request.body


def unpack(content: bytes) -> Request:
    """The request as it was received, `now` included: its timestamp is judged as of then."""
    line, _, body = content.partition(b"\n")
    head = json.loads(line)
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in head["headers"]}
    return Request(head["method"], head["url"], headers, body, head["now"])


def mask_headers(headers: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Names and values for the page; a value that may be a credential is only begun."""
    names = sorted(headers)
    return [(_text(name), _mask(_text(name), _text(headers[name]))) for name in names]


def mask_url(url: str) -> str:
    """The path, and the names of the parameters without their values, which may be tokens."""
    parts = urlsplit(url)
    try:
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        names = ["…"]
    query = "&".join(f"{name[:60]}=…" for name in names)
    return f"{parts.path}?{query}" if parts.query else parts.path


def _mask(name: str, value: str) -> str:
    if _PLAIN.fullmatch(name) and not _CREDENTIAL.search(name):
        return value[:1000]
    start = value[:SHOWN_START] if len(value) > 3 * SHOWN_START else ""
    return f"{start}… ({len(value)} characters)"


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
