"""Payment cards: a network's first digits and length, and Luhn's check digit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from stdnum import luhn

from apps.pipelines.redaction.kinds import CARD
from apps.pipelines.redaction.patterns import compile_ours
from apps.pipelines.redaction.spans import Span, Text, get_digits, join_groups

_CANDIDATE = compile_ours(r"\p{Nd}(?:[ \t\n\x{A0}.-]{0,2}\p{Nd}){11,}")
_GROUP = re.compile(r"\d+")
_NETWORK = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-59]|[689]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:62|81)\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:60|65|81|82|508)\d{13,14}"  # RuPay
)
_SIZES = range(12, 20)
_BAR_CODE = 13
_WORD = compile_ours("card|visa|maestro|kart|carte|carta|tarjeta|cart[aã]o|kort|カード|卡")


def find_cards(text: Text) -> Iterator[Span]:
    """Cards written as one number or in groups, also where other numbers stand beside them."""
    for match in _CANDIDATE.finditer(text.text):
        groups = [each.span() for each in _GROUP.finditer(text.text, *match.span())]
        is_one = partial(_is_card, text)
        for start, end in join_groups(text.text, groups, _SIZES, _SIZES.stop, is_one):
            yield Span(start, end, CARD)


def _is_card(text: Text, start: int, end: int) -> bool:
    digits = get_digits(text.text[start:end])
    return (
        _NETWORK.fullmatch(digits) is not None
        and luhn.is_valid(digits)
        and not _is_fraction(text.text, start, end)
        # Thirteen digits were a card long ago; today they are mostly a product's bar code.
        and (len(digits) > _BAR_CODE or _WORD.search(text.around(start, end)) is not None)
    )


def _is_fraction(text: str, start: int, end: int) -> bool:
    """0.5371428571428571 is a number, though its digits may be a card's."""
    before = text[max(0, start - 2) : start]
    return (
        len(before) == 2
        and before[0].isdecimal()
        and before[1] in ".,"
        and (text[start:end].isdecimal())
    )
