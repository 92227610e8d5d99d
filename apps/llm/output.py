"""Is the model's answer what the pipeline asked for?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

MAX_SCHEMA_CHARS = 50_000
MAX_ANSWER_CHARS = 500_000
_FENCE = re.compile(r"\A```[a-zA-Z]*\s*\n(.*?)\n?\s*```\Z", re.DOTALL)


class WrongSchema(ValueError):
    """Not a JSON Schema that answers can be checked against; `str()` is a sentence for a form."""

    code = "wrong_schema"
    permanent = True
    retry_after_s: float | None = None


class UnfitAnswer(ValueError):
    """The text is not the answer asked for. `code` says how; `str()` quotes nothing of it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_schema(schema: Any) -> None:
    """Raises `WrongSchema`. An empty schema is none: any text is an answer."""
    if not isinstance(schema, dict):
        raise WrongSchema("It must be a JSON object.")
    _check_size(schema)
    try:
        Draft202012Validator.check_schema(schema)
        resource = DRAFT202012.create_resource(schema)
        _check_parts(schema, Registry().with_resource("", resource).resolver())
    except SchemaError as error:
        raise WrongSchema(f"It is not JSON Schema (draft 2020-12): {error.message}") from None
    except RecursionError:
        raise WrongSchema("It is nested too deeply.") from None


def _check_size(schema: dict[str, Any]) -> None:
    try:
        text = json.dumps(schema, allow_nan=False)
    except (ValueError, RecursionError):
        raise WrongSchema("It is not JSON, or nested too deeply.") from None
    if len(text) > MAX_SCHEMA_CHARS:
        raise WrongSchema(f"It is longer than {MAX_SCHEMA_CHARS:,} characters.")


def _check_parts(part: Any, resolver: Any) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            if isinstance(value, str) and key in ("$ref", "$dynamicRef"):
                _check_reference(value, resolver)
            if isinstance(value, str) and key == "pattern":
                _check_pattern(value)
            if isinstance(value, dict) and key == "patternProperties":
                raise WrongSchema("patternProperties is not supported: name the properties.")
            _check_parts(value, resolver)
    elif isinstance(part, list):
        for value in part:
            _check_parts(value, resolver)


def _check_reference(reference: str, resolver: Any) -> None:
    if not reference.startswith("#"):
        raise WrongSchema("A $ref must stay inside the schema: it starts with #.")
    try:
        resolver.lookup(reference)
    except Unresolvable:
        raise WrongSchema(f"{reference[:200]} leads nowhere in the schema.") from None


def _check_pattern(pattern: str) -> None:
    try:
        _compile_pattern(pattern)
    except re2.error:
        raise WrongSchema(
            f"{pattern[:200]} is not a regular expression that takes linear time (RE2's syntax)."
        ) from None


@lru_cache(maxsize=500)
def _compile_pattern(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _fits_pattern(
    validator: Any, pattern: str, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    # RE2, because Python's own expressions can take longer than anybody waits.
    if isinstance(instance, str) and not _compile_pattern(pattern).search(instance):
        yield ValidationError("does not match the pattern")


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _fits_pattern}
)


def read_answer(text: str, schema: dict[str, Any]) -> Any:
    """The text itself without a schema, else the JSON in it; raises `UnfitAnswer`."""
    if len(text) > MAX_ANSWER_CHARS:
        raise UnfitAnswer("answer_too_large", f"It is longer than {MAX_ANSWER_CHARS:,} characters.")
    if not schema:
        _check_text(text)
        return text
    answer = _parse(text)
    _check_texts(answer)
    _check_fits(answer, schema)
    return answer


def _parse(text: str) -> Any:
    stripped = text.strip()
    if fenced := _FENCE.match(stripped):
        stripped = fenced[1]
    try:
        return json.loads(stripped, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnfitAnswer("answer_not_json", "The answer is not JSON.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _check_texts(answer: Any) -> None:
    pending = [answer]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            _check_text(part)
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            pending += [*part, *part.values()]
        elif isinstance(part, float) and part in (float("inf"), float("-inf")):
            raise UnfitAnswer("answer_not_json", "The answer holds a number beyond all bounds.")


def _check_text(text: str) -> None:
    # Neither can be stored or sent on: UTF-8 has no lone surrogates, PostgreSQL no NUL.
    if "\x00" in text or not _is_utf8(text):
        raise UnfitAnswer("answer_not_text", "The answer holds characters that are no text.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_fits(answer: Any, schema: dict[str, Any]) -> None:
    validator = _get_validator(json.dumps(schema, sort_keys=True))
    try:
        error = next(validator.iter_errors(answer), None)
    except (RecursionError, Unresolvable):
        raise UnfitAnswer(
            "answer_not_checked", "The answer can't be checked against the schema."
        ) from None
    if error is not None:
        raise UnfitAnswer("answer_off_schema", _describe(error))


def _describe(error: ValidationError) -> str:
    # The place in the schema, not in the answer: only the former was written by the author.
    place = "/".join(str(step) for step in error.absolute_schema_path)
    return f"The answer does not fit the schema at {place[:200]}."


@lru_cache(maxsize=200)
def _get_validator(schema: str) -> Any:
    # An empty registry: a reference to elsewhere fails instead of being fetched.
    return _Validator(json.loads(schema), registry=Registry())
