"""Is the model's answer what the pipeline asked for?"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

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
    try:
        text = json.dumps(schema, allow_nan=False)
        Draft202012Validator.check_schema(schema)
        _check_references(schema)
    except SchemaError as error:
        raise WrongSchema(f"It is not JSON Schema (draft 2020-12): {error.message}") from None
    except (RecursionError, ValueError) as error:
        raise WrongSchema(str(error) or "It is nested too deeply.") from None
    if len(text) > MAX_SCHEMA_CHARS:
        raise WrongSchema(f"It is longer than {MAX_SCHEMA_CHARS:,} characters.")


def _check_references(part: Any) -> None:
    if isinstance(part, dict):
        for key in ("$ref", "$dynamicRef"):
            reference = part.get(key)
            if isinstance(reference, str) and not reference.startswith("#"):
                raise WrongSchema(f"{key} must stay inside the schema: it starts with #.")
        for value in part.values():
            _check_references(value)
    elif isinstance(part, list):
        for value in part:
            _check_references(value)


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
def _get_validator(schema: str) -> Draft202012Validator:
    # An empty registry: a reference to elsewhere fails instead of being fetched.
    return Draft202012Validator(json.loads(schema), registry=Registry())
