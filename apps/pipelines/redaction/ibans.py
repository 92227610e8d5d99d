"""Bank accounts: IBANs, by country, length and check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, numdb
from stdnum.exceptions import ValidationError

from apps.pipelines.redaction.kinds import IBAN
from apps.pipelines.redaction.patterns import compile_ours
from apps.pipelines.redaction.spans import Span, Text

_BEGINNING = compile_ours(r"[A-Z]{2}\d{2}")
_GROUPS = re.compile(r"[A-Za-z0-9]+(?:[ \xa0\n.-]{1,2}[A-Za-z0-9]+)*")
_GROUP = re.compile(r"[A-Za-z0-9]+")
_LONGEST_CHARS = 34 + 2 * 17


def find_ibans(text: Text) -> Iterator[Span]:
    """In groups or not, in small letters too; the words behind one do not belong to it."""
    done = 0
    for beginning in _BEGINNING.finditer(text.text):
        start = beginning.start()
        if start < done or not text.begins_alone(start):
            continue
        end = _find_end(text.text[start : start + _LONGEST_CHARS + 1])
        if end:
            done = start + end
            yield Span(start, done, IBAN)


def _find_end(window: str) -> int:
    """How many characters of the window are an IBAN; 0 for none."""
    groups = _GROUPS.match(window)
    size = _get_size(window[:2].upper())
    number = ""
    for group in _GROUP.finditer(groups[0] if groups else ""):
        number += group[0].upper()
        if len(number) == size:
            return group.end() if _is_iban(number) else 0
    return 0


@cache
def _get_size(country: str) -> int:
    """How many characters the country's IBANs have; 0 for a country without them."""
    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    return 4 + sum(map(int, re.findall(r"\d+", structure))) if structure else 0


def _is_iban(number: str) -> bool:
    try:
        # Without the check digits that some countries have inside: banks do not all keep them.
        iban.validate(number, check_country=False)
    except ValidationError:
        return False
    return True
