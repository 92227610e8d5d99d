"""The everyday part of JSON Schema as nested functions, forty times as fast as the whole of it.

Without references, its work is bounded by the value times MAX_BRANCHES. Whoever gets a "no" asks
the whole of JSON Schema for the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Parts of anyOf and allOf, each of which may look at all of a body: 0.4 s for one of a megabyte.
MAX_BRANCHES = 20

Fits = Callable[[Any], bool]
Match = Callable[[str, str], bool]
"""(pattern, text): whether it matches somewhere"""

ANNOTATIONS = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly", "format"),
    *("contentMediaType", "contentEncoding"),
}
OF_OBJECTS = {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
OF_LISTS = {"items", "minItems", "maxItems"}
OF_TEXTS = {"minLength", "maxLength", "pattern"}
OF_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
KNOWN = {
    *(*ANNOTATIONS, *OF_OBJECTS, *OF_LISTS, *OF_TEXTS, *OF_NUMBERS),
    *("type", "enum", "const", "allOf", "anyOf"),
}


class _NotPlain(Exception):
    """The schema has more than this module knows."""


def compile_plain(schema: Any, match: Match) -> Fits | None:
    """Whether a value fits, as a function; None for a schema that is not plain."""
    try:
        return _compile(schema, match) if _count_branches(schema) <= MAX_BRANCHES else None
    except _NotPlain:
        return None


def _count_branches(part: Any) -> int:
    if isinstance(part, list):
        return sum(map(_count_branches, part))
    if not isinstance(part, dict):
        return 0
    own = sum(len(part[name]) for name in ("anyOf", "allOf") if isinstance(part.get(name), list))
    return own + sum(map(_count_branches, part.values()))


def _compile(schema: Any, match: Match) -> Fits:
    if isinstance(schema, bool):
        return lambda value: schema
    if schema.keys() - KNOWN:
        raise _NotPlain
    checks = [make(schema, match) for keys, make in _MAKERS if keys & schema.keys()]
    if len(checks) == 1:
        return checks[0]
    return lambda value: all(check(value) for check in checks)


def _of_type(schema: Mapping[str, Any], match: Match) -> Fits:
    names = schema["type"]
    checks = [_TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _of_enum(schema: Mapping[str, Any], match: Match) -> Fits:
    # Numbers equal each other across types, and lists go deep: only texts are plain.
    allowed = [schema["const"]] if "const" in schema else []
    found = [entries for entries in (schema.get("enum"), allowed or None) if entries is not None]
    if not all(isinstance(entry, str) for entries in found for entry in entries):
        raise _NotPlain
    texts = frozenset.intersection(*map(frozenset, found))
    return lambda value: isinstance(value, str) and value in texts


def _of_objects(schema: Mapping[str, Any], match: Match) -> Fits:
    parts = {name: _compile(part, match) for name, part in schema.get("properties", {}).items()}
    required = tuple(schema.get("required", ()))
    others = _compile(schema.get("additionalProperties", True), match)
    low, high = schema.get("minProperties", 0), schema.get("maxProperties", float("inf"))

    def fits(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        return (
            low <= len(value) <= high
            and all(name in value for name in required)
            and all(parts.get(name, others)(part) for name, part in value.items())
        )

    return fits


def _of_lists(schema: Mapping[str, Any], match: Match) -> Fits:
    part = _compile(schema.get("items", True), match)
    low, high = schema.get("minItems", 0), schema.get("maxItems", float("inf"))

    def fits(value: Any) -> bool:
        if not isinstance(value, list):
            return True
        return low <= len(value) <= high and all(map(part, value))

    return fits


def _of_texts(schema: Mapping[str, Any], match: Match) -> Fits:
    low, high = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
    pattern = schema.get("pattern")

    def fits(value: Any) -> bool:
        if not isinstance(value, str):
            return True
        return low <= len(value) <= high and (pattern is None or match(pattern, value))

    return fits


def _of_numbers(schema: Mapping[str, Any], match: Match) -> Fits:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")

    def fits(value: Any) -> bool:
        if not _is_number(value):
            return True
        return (
            (low is None or value >= low)
            and (above is None or value > above)
            and (high is None or value <= high)
            and (below is None or value < below)
        )

    return fits


def _of_all(schema: Mapping[str, Any], match: Match) -> Fits:
    parts = [_compile(part, match) for part in schema["allOf"]]
    return lambda value: all(part(value) for part in parts)


def _of_any(schema: Mapping[str, Any], match: Match) -> Fits:
    parts = [_compile(part, match) for part in schema["anyOf"]]
    return lambda value: any(part(value) for part in parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Mapping[str, Fits] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_integer,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_MAKERS: tuple[tuple[set[str], Callable[[Mapping[str, Any], Match], Fits]], ...] = (
    ({"type"}, _of_type),
    ({"enum", "const"}, _of_enum),
    (OF_OBJECTS, _of_objects),
    (OF_LISTS, _of_lists),
    (OF_TEXTS, _of_texts),
    (OF_NUMBERS, _of_numbers),
    ({"allOf"}, _of_all),
    ({"anyOf"}, _of_any),
)
