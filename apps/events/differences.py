"""How two bodies differ, line by line. Always text, never HTML: templates escape it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from apps.events.payload import pretty_json

COMPARED_BYTES = 100_000
COMPARED_LINES = 1000  # the comparison takes the square of it
LINE_CHARS = 500
CONTEXT_LINES = 3
SIDE_CHARS = 5000
SIGNS = {"+": "added", "-": "removed", " ": "same"}


@dataclass(frozen=True)
class Line:
    """One line: added, removed or the same; a gap stands for equal lines that are left out."""

    kind: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """`lines` where they could be compared; else both beginnings, to be shown side by side."""

    lines: list[Line]
    first: str = ""
    other: str = ""


def compare(first: bytes, other: bytes) -> Comparison:
    """JSON is compared as its indented form, so that one changed value is one changed line."""
    if max(len(first), len(other)) <= COMPARED_BYTES:
        both = [_split(raw) for raw in (first, other)]
        if max(map(len, both)) <= COMPARED_LINES and both[0] != both[1]:
            return Comparison(_get_lines(*both))
    return Comparison([], _read_beginning(first), _read_beginning(other))


def _split(raw: bytes) -> list[str]:
    text = raw.decode("utf-8", "replace")
    return [line[:LINE_CHARS] for line in (pretty_json(text) or text).splitlines()]


def _get_lines(first: list[str], other: list[str]) -> list[Line]:
    lines = list(difflib.unified_diff(first, other, n=CONTEXT_LINES, lineterm=""))[2:]
    return [
        Line("gap", "…") if line.startswith("@@") else Line(SIGNS[line[0]], line) for line in lines
    ]


def _read_beginning(raw: bytes) -> str:
    text = raw[: 4 * SIDE_CHARS].decode("utf-8", "replace")
    return text[:SIDE_CHARS] + ("…" if len(text) > SIDE_CHARS else "")
