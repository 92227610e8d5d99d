"""Writing into a body where a plain JMESPath would look: a.b, events[0].type, a.b || c."""

from __future__ import annotations

import re
from typing import Any

_NAME = r'[A-Za-z_]\w*|"[^"\\]+"'
_PLAIN = re.compile(rf"(?:(?:{_NAME})|\[0\])(?:\.(?:{_NAME})|\[0\])*")
_STEP = re.compile(rf"{_NAME}|\[0\]")


def put(document: Any, path: str, value: object) -> Any:
    """`document` with `value` at the first of the path's alternatives; unchanged where that is
    more than plain names: what a larger expression wants, nobody can tell.
    """
    first = path.split("||")[0].strip()
    if not _PLAIN.fullmatch(first):
        return document
    return _with(document, [step.strip('"') for step in _STEP.findall(first)], value)


def _with(node: Any, steps: list[str], value: object) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if step == "[0]":
        inner = node[0] if isinstance(node, list) and node else node
        return [_with(inner, rest, value)]
    fields = node if isinstance(node, dict) else {}
    return fields | {step: _with(fields.get(step), rest, value)}
