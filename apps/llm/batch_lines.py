"""The lines of a batch's files: one JSON document for each call, going and coming."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apps.llm.batch_lane import HTTP, NOT_DONE
from apps.llm.batch_provider import ENDPOINT
from apps.llm.models import LLMCall
from apps.llm.provider import (
    MAX_RESPONSE_BYTES,
    Completion,
    OutcomeUnknown,
    parse_completion,
)

HEAD_BYTES = 4000  # of a line that is too large: its name stands there
# Not within a text: there the quotes are escaped.
OURS = re.compile(r"call-([0-9]{1,18})-([0-9]{1,9})", re.ASCII)
NAME = re.compile(rb'(?<!\\)"custom_id"\s*:\s*"(call-[0-9]{1,18}-[0-9]{1,9})"')


@dataclass(frozen=True)
class Line:
    """What came of one call: an answer, or why it was not made; neither: it can't be read.

    An answer is paid, a refusal is not, and of what can't be read nobody knows.
    """

    name: str
    completion: Completion | None = None
    refusal: str = ""


def get_name(call: LLMCall) -> str:
    """Under which the provider brings it back: row and fence."""
    return f"call-{call.pk}-{call.fence}"


def read_name(name: str) -> tuple[int, int] | None:
    """Row and fence; None where it is no name of ours."""
    found = OURS.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def write_line(call: LLMCall) -> bytes:
    line = {"custom_id": get_name(call), "method": "POST", "url": ENDPOINT, "body": call.request}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def read_lines(chunks: Iterable[bytes]) -> Iterator[tuple[Line | None, int]]:
    """Each line of a file, and how many bytes were read until its end; None for one that nobody can
    tell whose it is."""
    done = 0
    for raw, size in _split(chunks):
        done += size + 1
        if raw.strip():
            yield _read_line(raw) if size == len(raw) else _read_head(raw), done


def _split(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Line by line, and how long each is. Of one that is too large only the beginning."""
    line, size = bytearray(), 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        for part, ends in ((first, bool(others)), *((each, True) for each in others[:-1])):
            size += len(part)
            line += part[: max(0, MAX_RESPONSE_BYTES - len(line))]
            if ends:
                yield bytes(line), size
                line, size = bytearray(), 0
        if others:
            line, size = bytearray(others[-1][:MAX_RESPONSE_BYTES]), len(others[-1])
    yield bytes(line), size


def _read_head(raw: bytes) -> Line | None:
    found = NAME.search(raw[:HEAD_BYTES])
    return Line(found[1].decode(), Completion("", "answer_too_large", 0, 0, "")) if found else None


def _read_line(raw: bytes) -> Line | None:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    name = document.get("custom_id") if isinstance(document, dict) else None
    if not isinstance(name, str):
        return None
    response = document.get("response")
    if not isinstance(response, dict):
        # The provider's own word for why it did not run; what it says is not ours to quote.
        return Line(name, refusal=NOT_DONE) if document.get("error") else Line(name)
    status = response.get("status_code")
    if isinstance(status, bool) or not isinstance(status, int):
        return Line(name)
    if not 200 <= status < 300:
        return Line(name, refusal=f"{HTTP}{status}"[:40])
    return Line(name, _read_completion(response))


def _read_completion(response: dict[str, Any]) -> Completion | None:
    request_id = response.get("request_id")
    raw = json.dumps(response.get("body")).encode()
    try:
        return parse_completion(raw, request_id[:120] if isinstance(request_id, str) else "")
    except OutcomeUnknown:
        return None
