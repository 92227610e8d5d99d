"""Whether an answer is the right one."""

from __future__ import annotations

from typing import Any


def is_same(one: Any, other: Any) -> bool:
    """Texts are the same without regard to case and space around them."""
    return bool(_fold(one) == _fold(other))


def meets(answer: Any, expected: Any) -> bool:
    """Every field that is expected is as expected; whatever is no object, as a whole."""
    if isinstance(expected, dict) and isinstance(answer, dict):
        return all(name in answer and is_same(answer[name], expected[name]) for name in expected)
    return is_same(answer, expected)


def _fold(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value
