"""Values that were found once, wherever else they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import re2

from apps.pipelines.redaction.kinds import FIELD
from apps.pipelines.redaction.patterns import get_options
from apps.pipelines.redaction.spans import Span, Text

SHORTEST = 4  # a shorter value says too little to be masked everywhere
CHARS_AT_ONCE = 20_000  # in one regular expression: RE2 refuses one of millions


class Repeated:
    """Looks for the values that have been met by now."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names` are what each value was found as."""
        self._names = names
        fields: list[str] = []
        others: list[str] = []
        for value, name in names.items():
            if len(value) >= SHORTEST:
                (fields if name == FIELD else others).append(value)
        # Apart, because a field that is refused must not hide another value that begins in it.
        self._patterns = [*_compile(fields), *_compile(others)]
        self._long = [value for value in (*fields, *others) if len(value) > CHARS_AT_ONCE]

    def find(self, text: str) -> Iterator[Span]:
        """All that are found; they may overlap."""
        whole = Text(text)
        for start, end in self._find_places(text):
            name = self._names[text[start:end]]
            # A name in a field, such as Mark, is not meant by the market.
            if name != FIELD or (whole.begins_alone(start) and whole.ends_alone(end)):
                yield Span(start, end, name)

    def _find_places(self, text: str) -> Iterator[tuple[int, int]]:
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                yield match.span()
        for value in self._long:
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value)
                start = text.find(value, start + len(value))


def _compile(values: Iterable[str]) -> Iterator[Any]:
    """The longest first, so that it wins where a shorter one is its beginning."""
    chunk: list[str] = []
    size = 0
    for value in sorted(values, key=lambda value: (-len(value), value)):
        if len(value) > CHARS_AT_ONCE:
            continue
        if size + len(value) > CHARS_AT_ONCE:
            yield re2.compile("|".join(chunk), get_options())
            chunk, size = [], 0
        chunk.append(re2.escape(value))
        size += len(value)
    if chunk:
        yield re2.compile("|".join(chunk), get_options())


def forget() -> None:
    """Empty RE2's own memory of expressions: these hold values. Ours are remembered by us."""
    re2.purge()
