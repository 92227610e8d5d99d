"""JSON Schema with bounds: no reference leads outside, no schema eats a process's time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from apps.pipelines.plain_schema import compile_plain

MAX_SCHEMA_CHARS = 50_000
# Keywords looked at in one check, about 0.4 s: two references to itself can double with each level.
MAX_STEPS = 100_000
# A long text or list counts once more for each so many letters or items.
STEP_ITEMS = 1024

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class WrongSchema(ValueError):
    """Not a JSON Schema that values can be checked against; `str()` is a sentence for a form.

    `place` are the names and numbers that lead to the wrong part; empty where it is the whole.
    """

    code = "wrong_schema"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, message: str, place: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.place = tuple(place)


class OffSchema(ValueError):
    """The value does not fit. `place` is where in the schema: the value itself is not quoted."""

    code = "off_schema"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, place: str) -> None:
        super().__init__(f"It does not fit the schema at {place}.")
        self.place = place


class NotCheckable(ValueError):
    """Too many parts or too many levels: nobody knows whether the value fits."""

    code = "not_checkable"
    permanent = True
    retry_after_s: float | None = None


def check_schema(schema: Any) -> None:
    """Raises `WrongSchema`. An empty schema is none: everything fits it."""
    if not isinstance(schema, dict):
        raise WrongSchema("It must be a JSON object.")
    _check_size(schema)
    try:
        Draft202012Validator.check_schema(schema)
        resource = DRAFT202012.create_resource(schema)
        _check_parts(schema, Registry().with_resource("", resource).resolver())
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path)
        where = f" (at {place[:200]})" if place else ""
        raise WrongSchema(
            f"It is not JSON Schema (draft 2020-12): {error.message[:500]}{where}",
            error.absolute_path,
        ) from None
    except RecursionError:
        raise WrongSchema("It is nested too deeply.") from None


def _check_size(schema: dict[str, Any]) -> None:
    try:
        text = json.dumps(schema, allow_nan=False)
    except (ValueError, RecursionError):
        raise WrongSchema("It is not JSON, or nested too deeply.") from None
    if len(text) > MAX_SCHEMA_CHARS:
        raise WrongSchema(f"It is longer than {MAX_SCHEMA_CHARS:,} characters.")


def _check_parts(part: Any, resolver: Any, place: tuple[str | int, ...] = ()) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            here = (*place, key)
            if isinstance(value, str) and key in ("$ref", "$dynamicRef"):
                _check_reference(value, resolver, here)
            if isinstance(value, str) and key == "pattern":
                _check_pattern(value, here)
            if isinstance(value, dict) and key == "patternProperties":
                raise WrongSchema("patternProperties is not supported: name the properties.", here)
            _check_parts(value, resolver, here)
    elif isinstance(part, list):
        for index, value in enumerate(part):
            _check_parts(value, resolver, (*place, index))


def _check_reference(reference: str, resolver: Any, place: tuple[str | int, ...]) -> None:
    if not reference.startswith("#"):
        raise WrongSchema("A $ref must stay inside the schema: it starts with #.", place)
    try:
        resolver.lookup(reference)
    except Unresolvable:
        raise WrongSchema(f"{reference[:200]} leads nowhere in the schema.", place) from None


def _check_pattern(pattern: str, place: tuple[str | int, ...]) -> None:
    try:
        _compile_pattern(pattern)
    except re2.error:
        raise WrongSchema(
            f"{pattern[:200]} is not a regular expression that takes linear time (RE2's syntax).",
            place,
        ) from None


@lru_cache(maxsize=500)
def _compile_pattern(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


class _Steps(threading.local):
    taken = 0


class Schema:
    """A schema made ready for many checks."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """`schema` has passed `check_schema`."""
        self._fits = compile_plain(schema, _matches)
        self._steps = _Steps()
        keywords: dict[str, Keyword] = dict(Draft202012Validator.VALIDATORS)
        keywords |= {"pattern": _fits_pattern, "uniqueItems": self._has_unique_items}
        counted = {name: self._counted(keyword) for name, keyword in keywords.items()}
        validator: Any = extend(  # type: ignore[no-untyped-call]
            Draft202012Validator, counted
        )
        # An empty registry: a reference to elsewhere fails instead of being fetched.
        self._validator = validator(schema, registry=Registry())

    def check(self, value: Any) -> None:
        """Raises `OffSchema` or `NotCheckable`."""
        if self._fits is not None and self._fits(value):
            return
        self._steps.taken = 0
        try:
            error = next(self._validator.iter_errors(value), None)
        except (RecursionError, Unresolvable, ArithmeticError):
            raise NotCheckable("It has too many levels, or a number beyond all bounds.") from None
        if error is not None:
            place = "/".join(str(step) for step in error.absolute_schema_path)
            raise OffSchema(place[:200])

    def _counted(self, keyword: Keyword) -> Keyword:
        def check(validator: Any, given: Any, instance: Any, schema: Any) -> Any:
            size = len(instance) if isinstance(instance, str | list | dict) else 0
            self._count(1 + size // STEP_ITEMS)
            return keyword(validator, given, instance, schema)

        return check

    def _count(self, steps: int) -> None:
        self._steps.taken += steps
        if self._steps.taken > MAX_STEPS:
            raise NotCheckable(f"The schema took more than {MAX_STEPS:,} steps.")

    def _has_unique_items(
        self, validator: Any, asked: Any, instance: Any, schema: Any
    ) -> Iterator[ValidationError]:
        # By hash: comparing each with each takes minutes for a body of a megabyte.
        if not asked or not isinstance(instance, list):
            return
        if len({self._freeze(item) for item in instance}) < len(instance):
            yield ValidationError("has an item twice")

    def _freeze(self, value: Any) -> Any:
        self._count(1)
        if isinstance(value, list):
            return ("list", tuple(self._freeze(item) for item in value))
        if isinstance(value, dict):
            return ("dict", frozenset((key, self._freeze(item)) for key, item in value.items()))
        # True is no 1, though Python says so; 1 and 1.0 are one number for JSON Schema too.
        return ("bool", value) if isinstance(value, bool) else value


def _fits_pattern(
    validator: Any, pattern: str, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError("does not match the pattern")


def _matches(pattern: str, text: str) -> bool:
    # RE2, because Python's own expressions can take longer than anybody waits.
    try:
        return _compile_pattern(pattern).search(text) is not None
    except UnicodeEncodeError:
        return False  # a lone surrogate is no character
