"""What a pipeline version redacts: plain data, checked before it is published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from apps.pipelines.redaction.countries import COUNTRIES
from apps.pipelines.redaction.kinds import FIELD, KINDS
from apps.pipelines.redaction.paths import WrongPath, parse_path
from apps.pipelines.redaction.patterns import WrongPattern, compile_pattern

MAX_PATHS = 50
MAX_PATTERNS = 50
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,29}")
_KEYS = {"kinds", "countries", "paths", "patterns", "reversible"}


class WrongRedaction(ValueError):
    """Not a redaction; `str()` is a sentence for a form."""

    code = "wrong_redaction"
    permanent = True
    retry_after_s: float | None = None


@dataclass(frozen=True)
class OwnPattern:
    """A regular expression in RE2's syntax; its matches become [NAME_1], [NAME_2], …"""

    name: str
    pattern: str


@dataclass(frozen=True)
class Redaction:
    """`kinds` as in `kinds.KINDS`; `countries` ISO 3166 codes, none means every one we know.

    `reversible`: values come back where the answer names their marks.
    """

    kinds: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    patterns: tuple[OwnPattern, ...] = ()
    reversible: bool = False

    def __bool__(self) -> bool:
        return bool(self.kinds or self.paths or self.patterns)

    def to_json(self) -> dict[str, Any]:
        """As a version keeps it: what is empty is left out."""
        patterns = [{"name": own.name, "pattern": own.pattern} for own in self.patterns]
        plain = {
            "kinds": list(self.kinds),
            "countries": list(self.countries),
            "paths": list(self.paths),
            "patterns": patterns,
            "reversible": self.reversible,
        }
        return {name: value for name, value in plain.items() if value}


def read_redaction(value: Any) -> Redaction:
    """From the JSON of a version, {} for none; raises `WrongRedaction`."""
    if not isinstance(value, dict):
        raise WrongRedaction("It must be a JSON object.")
    if unknown := set(value) - _KEYS:
        raise WrongRedaction(f"Unknown: {', '.join(sorted(map(str, unknown)))[:200]}.")
    reversible = value.get("reversible", False)
    if not isinstance(reversible, bool):
        raise WrongRedaction("reversible must be true or false.")
    return Redaction(
        kinds=_read_choices(value, "kinds", KINDS),
        countries=_read_choices(value, "countries", COUNTRIES),
        paths=_read_paths(_read_list(value, "paths", MAX_PATHS)),
        patterns=_read_patterns(_read_list(value, "patterns", MAX_PATTERNS)),
        reversible=reversible,
    )


def _read_list(value: dict[str, Any], name: str, longest: int) -> list[Any]:
    items = value.get(name, [])
    if not isinstance(items, list) or len(items) > longest:
        raise WrongRedaction(f"{name} must be a list of at most {longest}.")
    return items


def _read_choices(value: dict[str, Any], name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    chosen = _read_list(value, name, len(allowed))
    for each in chosen:
        if each not in allowed:
            raise WrongRedaction(f"{name} may hold only: {', '.join(allowed)}.")
    return tuple(chosen)


def _read_paths(paths: list[Any]) -> tuple[str, ...]:
    for path in paths:
        try:
            parse_path(path if isinstance(path, str) else "")
        except WrongPath as error:
            raise WrongRedaction(str(error)) from None
    return tuple(paths)


def _read_patterns(patterns: list[Any]) -> tuple[OwnPattern, ...]:
    read = [_read_pattern(each) for each in patterns]
    if len({each.name for each in read}) < len(read):
        raise WrongRedaction("Two patterns have the same name.")
    return tuple(read)


def _read_pattern(value: Any) -> OwnPattern:
    if not isinstance(value, dict) or set(value) != {"name", "pattern"}:
        raise WrongRedaction("A pattern is an object with name and pattern.")
    name, pattern = value["name"], value["pattern"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WrongRedaction(
            "The name of a pattern has up to 30 capital letters, digits and _, such as ORDER."
        )
    if name.lower() in (*KINDS, FIELD):
        raise WrongRedaction(f"{name} is the name of a built-in kind: choose another.")
    try:
        compile_pattern(pattern if isinstance(pattern, str) else "")
    except WrongPattern as error:
        raise WrongRedaction(str(error)) from None
    return OwnPattern(name, pattern)
