"""Everything that is to be masked in one text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from apps.pipelines.redaction.cards import find_cards
from apps.pipelines.redaction.config import Redaction
from apps.pipelines.redaction.countries import COUNTRIES
from apps.pipelines.redaction.email_addresses import find_email_addresses
from apps.pipelines.redaction.ibans import find_ibans
from apps.pipelines.redaction.kinds import CARD, EMAIL, IBAN, NATIONAL_ID, PHONE
from apps.pipelines.redaction.national_ids import IdFinder
from apps.pipelines.redaction.patterns import compile_pattern
from apps.pipelines.redaction.phones import PhoneFinder
from apps.pipelines.redaction.spans import Span, Text

# Of two that are found in the same place: the one whose check says more.
_RANK = {name: rank for rank, name in enumerate((EMAIL, IBAN, CARD, NATIONAL_ID, PHONE))}


class Finder:
    """The finders that a redaction asks for, for the texts of one event."""

    def __init__(self, redaction: Redaction) -> None:
        countries = redaction.countries or COUNTRIES
        finders = {
            EMAIL: find_email_addresses,
            IBAN: find_ibans,
            CARD: find_cards,
            NATIONAL_ID: IdFinder(countries).find,
            PHONE: PhoneFinder(countries).find,
        }
        self._finders = [find for kind, find in finders.items() if kind in redaction.kinds]
        self._patterns = [(own.name, compile_pattern(own.pattern)) for own in redaction.patterns]

    def find(self, text: Text) -> Iterator[Span]:
        """In no order; they may overlap: see `merge`."""
        for find in self._finders:
            yield from find(text)
        for name, pattern in self._patterns:
            for match in pattern.finditer(text.text):
                if match.end() > match.start():
                    yield Span(match.start(), match.end(), name)


def merge(spans: Iterable[Span]) -> list[Span]:
    """One span where several overlap, under the name of the longest: nothing found may show."""
    merged: list[Span] = []
    longest = 0  # characters of the longest that went into the last one
    for span in sorted(spans, key=lambda each: (each.start, -each.end, _RANK.get(each.name, -1))):
        size = span.end - span.start
        if merged and span.start < merged[-1].end:
            last = merged.pop()
            name = span.name if size > longest else last.name
            span = Span(last.start, max(last.end, span.end), name)
            size = max(size, longest)
        merged.append(span)
        longest = size
    return merged
