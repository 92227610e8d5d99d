"""Marks such as [EMAIL_1] that stand for values, and the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_UNMASKED_CHARS = 500_000
_MARK = re.compile(r"\[([A-Za-z][A-Za-z0-9_]*_\d{1,9})\]")


class UnmaskedTooLarge(ValueError):
    """An answer would grow beyond `MAX_UNMASKED_CHARS` by what its marks stand for."""

    code = "answer_too_large"
    permanent = True
    retry_after_s: float | None = None


class Placeholders:
    """The marks of one event: the same value has the same one, in the order of being met."""

    def __init__(self) -> None:
        self._reserved: set[str] = set()
        self._marks: dict[str, str] = {}
        self._next: dict[str, int] = {}
        self.values: dict[str, str] = {}  # mark → value
        self.names: dict[str, str] = {}  # mark → name

    def reserve(self, text: str) -> None:
        """Never use a mark that the payload writes itself: it would come back as another value."""
        self._reserved.update(match[0].upper() for match in _MARK.finditer(text))

    def get(self, name: str, text: str) -> str:
        """The mark that hides this text. Marks in it are undone first: they do not nest."""
        value = self.restore(text)
        if value not in self._marks:
            mark = self._make(name.upper())
            self._marks[value], self.values[mark], self.names[mark] = mark, value, name
        return self._marks[value]

    def restore(self, text: str) -> str:
        """The text without our marks."""
        return _MARK.sub(lambda match: self.values.get(match[0], match[0]), text)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where our marks stand in a text."""
        return [match.span() for match in _MARK.finditer(text) if match[0] in self.values]

    def _make(self, name: str) -> str:
        number = self._next.get(name, 1)
        while f"[{name}_{number}]" in self._reserved:
            number += 1
        self._next[name] = number + 1
        return f"[{name}_{number}]"


def unmask(answer: Any, values: Mapping[str, str]) -> Any:
    """The answer with each mark of `values` (mark → value) replaced, in keys too.

    Marks in small letters count as well: models write them so at times. A value comes back as
    text, never as a number or an object. Raises `UnmaskedTooLarge`.
    """
    return _Unmasking(values).unmask(answer) if values else answer


class _Unmasking:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._chars = 0

    def unmask(self, part: Any) -> Any:
        if isinstance(part, str):
            return _MARK.sub(self._replace, part)
        if isinstance(part, list):
            return [self.unmask(each) for each in part]
        if isinstance(part, dict):
            return {self.unmask(key): self.unmask(value) for key, value in part.items()}
        return part

    def _replace(self, match: re.Match[str]) -> str:
        value = self._values.get(match[0].upper(), match[0])
        self._chars += len(value)
        if self._chars > MAX_UNMASKED_CHARS:
            raise UnmaskedTooLarge(f"It grows beyond {MAX_UNMASKED_CHARS:,} characters.")
        return value
