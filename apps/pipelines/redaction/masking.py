"""One event's masking: from the payload to what the prompt may show of it."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apps.pipelines.expressions import to_json
from apps.pipelines.payload import PayloadTooDeep
from apps.pipelines.prompt import clean
from apps.pipelines.redaction.config import Redaction
from apps.pipelines.redaction.finding import Finder, merge
from apps.pipelines.redaction.kinds import FIELD, KINDS, PATTERN
from apps.pipelines.redaction.paths import replace_at
from apps.pipelines.redaction.placeholders import Placeholders
from apps.pipelines.redaction.repeated import Repeated, forget
from apps.pipelines.redaction.spans import Span, Text


class Masking:
    """Remembers what was masked in one event, for as long as its request is made."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._finder = Finder(redaction)
        self._placeholders = Placeholders()
        self._met: dict[str, str] = {}  # value → name, also of what went into a larger mark

    @property
    def values(self) -> dict[str, str]:
        """Mark → value of everything that was met."""
        return self._placeholders.values

    def mask_fields(self, payload: Any) -> Any:
        """A copy of the payload whose values at the redaction's own paths are marks.

        Null and empty text stay. Raises `PrepareError`.
        """
        try:
            self._read("", payload)
            for path in self._redaction.paths:
                payload = replace_at(path, payload, self._mask_field)
        except RecursionError:
            raise PayloadTooDeep("The payload is nested too deeply.") from None
        return payload

    def mask(self, values: list[tuple[str, Any]]) -> list[Any]:
        """Copies of a prompt's (name, value) pairs in which everything found is masked.

        What was found in one place is masked wherever else it stands, although it would not have
        been found there. Raises `PrepareError`.
        """
        try:
            texts = dict.fromkeys(text for pair in values for text in self._read(*pair))
            found = {text: self._find(text) for text in texts}
            repeated = Repeated(self._met)
            masked = {
                text: self._replace(text.text, spans, repeated) for text, spans in found.items()
            }
            return [_map_texts(name, value, masked.__getitem__) for name, value in values]
        except RecursionError:
            raise PayloadTooDeep("The payload is nested too deeply.") from None
        finally:
            forget()

    def get_hidden(self, prompt: str) -> dict[str, str]:
        """Mark → value of the marks in a prompt, for `unmask`: no answer can ask for others."""
        marks = sorted({prompt[start:end] for start, end in self._placeholders.find(prompt)})
        return {mark: self._placeholders.values[mark] for mark in marks}

    def count(self, prompt: str) -> dict[str, int]:
        """How many different values of each kind are marks in the prompt."""
        names = (self._placeholders.names[mark] for mark in self.get_hidden(prompt))
        return dict(Counter(name if name in (*KINDS, FIELD) else PATTERN for name in names))

    def _read(self, name: str, value: Any) -> list[Text]:
        texts = list(_list_texts(name, value))
        for text in texts:
            self._placeholders.reserve(text.text)
        return texts

    def _mask_field(self, value: Any) -> Any:
        if value is None or value == "":
            return value
        text = value if isinstance(value, str) else to_json(value)
        mark = self._placeholders.get(FIELD, clean(text))
        self._met.setdefault(self._placeholders.values[mark], FIELD)
        return mark

    def _find(self, text: Text) -> list[Span]:
        spans = self._drop_pieces_of_marks(text.text, self._finder.find(text))
        for span in spans:
            self._met.setdefault(text.text[span.start : span.end], span.name)
        return merge(spans)

    def _drop_pieces_of_marks(self, text: str, spans: Iterable[Span]) -> list[Span]:
        marks = self._placeholders.find(text)
        starts = [start for start, _ in marks]

        def is_piece(span: Span) -> bool:
            at = bisect_right(starts, span.start) - 1
            return at >= 0 and span.end <= marks[at][1]

        return [span for span in spans if not is_piece(span)]

    def _replace(self, text: str, spans: list[Span], repeated: Repeated) -> str:
        again = self._drop_pieces_of_marks(text, repeated.find(text))
        parts: list[str] = []
        done = 0
        for span in merge([*spans, *again]):
            mark = self._placeholders.get(span.name, text[span.start : span.end])
            parts += [text[done : span.start], mark]
            done = span.end
        return "".join([*parts, text[done:]])


def _list_texts(name: str, value: Any) -> Iterator[Text]:
    """Every text in a value, keys and numbers too, with the name it stands under."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield Text(clean(key))
            yield from _list_texts(key, each)
    elif isinstance(value, list):
        for each in value:
            yield from _list_texts(name, each)
    elif isinstance(value, str):
        yield Text(clean(value), clean(name))
    elif _is_number(value):
        yield Text(json.dumps(value), clean(name))


def _map_texts(name: str, value: Any, mask: Callable[[Text], str]) -> Any:
    """The value with each of its texts masked; a number in which something was found is a text."""
    if isinstance(value, dict):
        return {mask(Text(clean(key))): _map_texts(key, each, mask) for key, each in value.items()}
    if isinstance(value, list):
        return [_map_texts(name, each, mask) for each in value]
    if isinstance(value, str):
        return mask(Text(clean(value), clean(name)))
    if _is_number(value):
        text = json.dumps(value)
        masked = mask(Text(text, clean(name)))
        return value if masked == text else masked
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
