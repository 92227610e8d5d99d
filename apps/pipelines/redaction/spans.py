"""Where something was found in a text, and what stands around it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BEFORE_CHARS = 40
AFTER_CHARS = 25
_CJK = 0x2E80  # from here on, scripts write words without spaces between them


@dataclass(frozen=True)
class Span:
    """`text[start:end]` is to be masked as `[NAME_…]`."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Text:
    """A text of the payload, and the name it stands under there (`phone`, `iban`), if any."""

    text: str
    key: str = ""

    def before(self, start: int) -> str:
        """The last words that lead to a place."""
        return self.text[max(0, start - BEFORE_CHARS) : start]

    def around(self, start: int, end: int) -> str:
        """The name of the field, and the words before and after a place."""
        return f"{self.key}: {self.before(start)} … {self.text[end : end + AFTER_CHARS]}"

    def begins_alone(self, start: int, glue: str = "") -> bool:
        """Whether no letter, digit or character of `glue` is stuck to its front."""
        return not start or not _sticks(self.text[start - 1], glue)

    def ends_alone(self, end: int, glue: str = "") -> bool:
        """The same of its end."""
        return end == len(self.text) or not _sticks(self.text[end], glue)


def _sticks(char: str, glue: str) -> bool:
    return char in glue or (char.isalnum() and ord(char) < _CJK)


def get_digits(text: str) -> str:
    """The decimal digits in it, of whatever script, as ASCII."""
    if text.isascii():
        return "".join(filter(str.isdecimal, text))
    return "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal())


def join_groups(
    text: str,
    groups: list[tuple[int, int]],
    sizes: range,
    most: int,
    is_one: Callable[[int, int], bool],
    begins_next: Callable[[str, int], bool] = lambda group, digits: False,
) -> Iterator[tuple[int, int]]:
    """Places where up to `most` neighbouring groups of digits are one number, as `is_one` says.

    From each group on the longest; they may overlap, because of two numbers side by side a piece
    of each can be one as well. `sizes` are the digits it may have; `begins_next` says of a group,
    by the digits before it, that another number begins there.
    """
    counts = [len(get_digits(text[start:end])) for start, end in groups]
    for at, (start, _) in enumerate(groups):
        total, ends = 0, []
        for (begin, end), count in zip(groups[at : at + most], counts[at : at + most], strict=True):
            if total and begins_next(text[begin:end], total):
                break
            total += count
            if total >= sizes.stop:
                break
            if total >= sizes.start:
                ends.append(end)
        found = next((end for end in reversed(ends) if is_one(start, end)), None)
        if found is not None:
            yield start, found
