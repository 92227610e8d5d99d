"""Regular expressions that take linear time, whoever wrote them and whatever they meet."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

MAX_PATTERN_CHARS = 500


class WrongPattern(ValueError):
    """Not a regular expression of RE2; `str()` is a sentence for a form."""

    code = "wrong_pattern"
    permanent = True
    retry_after_s: float | None = None


@lru_cache(maxsize=500)
def compile_pattern(pattern: str) -> Any:
    """One's own pattern; raises `WrongPattern`. RE2 knows no look-around and no back-references."""
    if not 1 <= len(pattern) <= MAX_PATTERN_CHARS:
        raise WrongPattern(f"A pattern has 1 to {MAX_PATTERN_CHARS} characters.")
    try:
        compiled = re2.compile(pattern, get_options())
        matches_nothing = compiled.fullmatch("") is not None
    except (re2.error, UnicodeEncodeError):
        raise WrongPattern(
            f"{pattern!r} is not a regular expression that takes linear time (RE2's syntax)."
        ) from None
    if matches_nothing:
        raise WrongPattern(f"{pattern!r} matches the empty text too: it would match everywhere.")
    return compiled


def get_options(*, ignore_case: bool = False) -> Any:
    """RE2's options: it must not write to standard error, where a pattern may quote something."""
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    return options


def compile_ours(pattern: str) -> Any:
    """One of the patterns that come along; letters match in either case."""
    return re2.compile(pattern, get_options(ignore_case=True))
