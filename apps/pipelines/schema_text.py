"""A JSON Schema as it is typed: where in the text is the error?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from apps.pipelines.json_schema import MAX_SCHEMA_CHARS, WrongSchema, check_schema

_SPACE = " \t\r\n"
_decoder = json.JSONDecoder()


class WrongSchemaText(ValueError):
    """`str()` is a sentence that names the place; `line` counts from 1, None where it is all."""

    code = "wrong_schema"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"Line {line}: {message}")
        self.line = line


def read_schema(text: str) -> dict[str, Any]:
    """The schema that was typed, checked; {} for nothing. Raises `WrongSchemaText`."""
    if not text.strip():
        return {}
    if len(text) > 2 * MAX_SCHEMA_CHARS:
        raise WrongSchemaText(f"It is longer than {MAX_SCHEMA_CHARS:,} characters.")
    try:
        schema: dict[str, Any] = json.loads(text)
        check_schema(schema)
    except json.JSONDecodeError as error:
        message = f"It is not JSON: {error.msg} (column {error.colno})."
        raise WrongSchemaText(message, error.lineno) from None
    except WrongSchema as error:
        line = find_line(text, error.place) if error.place else None
        raise WrongSchemaText(str(error), line) from None
    except (ValueError, RecursionError):
        raise WrongSchemaText("It is not JSON, or nested too deeply.") from None
    return schema


def find_line(text: str, place: Sequence[str | int]) -> int:
    """The line, from 1, on which the part begins that `place` leads to. `text` is JSON."""
    position = _skip(text, 0)
    for step in place:
        position = _find_item(text, position, step)
    return text.count("\n", 0, position) + 1


def _find_item(text: str, position: int, wanted: str | int) -> int:
    """Where the value of this name or number begins; the object itself where it has no such."""
    start, index, found = position, 0, position
    is_object = text[position] == "{"
    position = _skip(text, position + 1)
    while text[position] not in "}]":
        name: str | int = index
        if is_object:
            name, position = _decoder.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        if name == wanted:
            found = position  # of a name that stands there twice, the last one counts
        _, position = _decoder.raw_decode(text, position)
        position = _skip(text, position)
        index += 1
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found or start


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position
