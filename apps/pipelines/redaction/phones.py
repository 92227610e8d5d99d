"""Phone numbers. A number alone proves little: its form, its country's plan, the words before it.

The candidates are ours, because the library's own search takes milliseconds for each kilobyte and
country; whether a candidate is a number of some country's plan, the library says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult

from apps.pipelines.redaction.kinds import PHONE
from apps.pipelines.redaction.patterns import compile_ours
from apps.pipelines.redaction.phone_words import Before, is_party, read_before
from apps.pipelines.redaction.spans import Span, Text, get_digits, join_groups

_CANDIDATE = compile_ours(
    r"(?:[+＋(]|%2B)?[+＋(]?\p{Nd}(?:[ \t\x{A0}\x{2010}-\x{2015}.()/－-]{0,3}\p{Nd}){5,}"
)
_GROUP = re.compile(r"(?:[+＋(]|%2[Bb])?[+＋(]?\d+\)?")
_SIZES = range(7, 18)
_MOST_GROUPS = 8
_SHORTEST_INTERNATIONAL = 8
_SHORTEST_MOBILE = 10
_WHOLE = 10  # digits after which a 0 begins another number
MAX_QUESTIONS = 20_000  # to the library, each about 35 µs
_GLUE = "/=#&?_-.@$€£%"  # before a number that is a piece of an address, a code or a price
_INTERNATIONAL = re.compile(r"\(?(?:[+＋]|%2[Bb]|00)")
_TIGHT_BEFORE = re.compile(r"\d[-./:]")
_TIGHT_AFTER = re.compile(r"[-./]\d")
_DATE = re.compile(
    r"(?:\d{4}[-./](?:0?\d|1[0-2])[-./][0-3]?\d|[0-3]?\d[-./][0-3]?\d[-./](?:(?:19|20)\d\d|\d\d))"
    r"(?![-./]?\d)"
)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
# Forms that are phone numbers without a word that says so.
_NATIONAL = re.compile(
    r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}([-. ]))\d{3}[-. ]\d{4}"  # North America
    r"|\(?0\d.*"
    r"|\(\d{2}\) ?\d{4,5}-?\d{4}",  # Brazil
    re.DOTALL,
)


class PhoneFinder:
    """Looks for phone numbers in the texts of one event."""

    def __init__(self, countries: tuple[str, ...]) -> None:
        self._countries = countries
        self._with_zero = tuple(each for each in countries if _writes_zero(each))
        self._questions = 0

    def find(self, text: Text) -> Iterator[Span]:
        """Numbers with a country code of anywhere; others by the plans of our countries."""
        for match in _CANDIDATE.finditer(text.text):
            groups = [each.span() for each in _GROUP.finditer(text.text, *match.span())]
            is_one = partial(self._is_phone, text)
            for start, end in join_groups(
                text.text, groups, _SIZES, _MOST_GROUPS, is_one, _begins_next
            ):
                yield Span(start, end, PHONE)

    def _is_phone(self, text: Text, start: int, end: int) -> bool:
        if _is_cut(text.text, start, end):
            return False
        raw = text.text[start:end]
        # A plus begins a number behind a letter, too.
        if not (text.begins_alone(start) or raw[0] in "+＋") or not text.ends_alone(end, "%@_"):
            return False
        if _INTERNATIONAL.match(raw):
            # 00 may begin an article's number as well.
            is_code = raw.startswith("00") and not text.begins_alone(start, _GLUE)
            return not is_code and self._has_country_code(raw)
        if _DATE.match(raw) or _ADDRESS.fullmatch(raw):
            return False
        has_form = _NATIONAL.fullmatch(raw) is not None and text.begins_alone(start, _GLUE)
        if is_party(text.key) and raw == text.text and raw.isdecimal():
            return self._has_country_code(f"+{raw}")
        match read_before(text.key, text.before(start), is_first=start == 0):
            case Before.LABEL:
                return self._is_of_a_plan(raw, is_labelled=True)
            case Before.WORD:
                return text.begins_alone(start, _GLUE) and self._is_of_a_plan(raw)
            case Before.NOTHING:
                return has_form and self._is_of_a_plan(raw, is_bare=True)
            case Before.OTHER:
                return False

    def _has_country_code(self, raw: str) -> bool:
        number = _INTERNATIONAL.sub("+", raw, count=1)
        parsed = self._parse(number, None)
        if parsed is None or len(get_digits(number)) < _SHORTEST_INTERNATIONAL:
            return parsed is None and self._is_tired()
        if phonenumbers.is_valid_number(parsed):
            return True
        # Numbers for tests and films are in no plan, but have the length of one.
        return not raw.startswith("0") and _is_possible(parsed)

    def _is_of_a_plan(self, raw: str, *, is_labelled: bool = False, is_bare: bool = False) -> bool:
        """`is_labelled`: a word in front says phone; `is_bare`: nothing near by does."""
        countries = self._with_zero if raw.lstrip("(").startswith("0") else self._countries
        for country in countries:
            parsed = self._parse(raw, country)
            if parsed is None:
                if self._is_tired():
                    return True
                continue
            if is_labelled and _is_possible(parsed):
                return True
            # Ten bare digits are a number of some place in some country: only a mobile counts.
            is_enough = not is_bare or not raw.isdecimal() or _is_mobile(parsed, raw)
            if is_enough and phonenumbers.is_valid_number_for_region(parsed, country):
                return True
        return False

    def _parse(self, raw: str, country: str | None) -> phonenumbers.PhoneNumber | None:
        """None for no number, and after so many questions that a text made of digits is meant."""
        self._questions += 1
        if self._is_tired():
            return None
        try:
            return phonenumbers.parse(raw, country)
        except phonenumbers.NumberParseException:
            return None

    def _is_tired(self) -> bool:
        # From here on, what has the form of a number is masked unasked: that is the safe side.
        return self._questions > MAX_QUESTIONS


@cache
def _writes_zero(country: str) -> bool:
    """Whether numbers are written with a 0 in front at home."""
    plan = phonenumbers.PhoneMetadata.metadata_for_region(country)
    return country == "IT" or (plan is not None and plan.national_prefix == "0")


def _is_possible(number: phonenumbers.PhoneNumber) -> bool:
    reason = phonenumbers.is_possible_number_with_reason(number)
    return bool(reason == ValidationResult.IS_POSSIBLE)


def _is_mobile(number: phonenumbers.PhoneNumber, raw: str) -> bool:
    kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    return len(raw) >= _SHORTEST_MOBILE and phonenumbers.number_type(number) in kinds


def _begins_next(group: str, digits: int) -> bool:
    """Whether a number that has so many digits is over, and another begins."""
    if group[0] == "(":
        return digits >= _SIZES.start
    return group[0] in "+＋%" or (group[0] == "0" and digits >= _WHOLE)


def _is_cut(text: str, start: int, end: int) -> bool:
    """Whether it is a piece of something longer, such as 2024-11-24 or 302-4512345-8873641."""
    return bool(
        _TIGHT_BEFORE.fullmatch(text[max(0, start - 2) : start])
        or _TIGHT_AFTER.fullmatch(text[end : end + 2])
    )
