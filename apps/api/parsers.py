"""Reads JSON that every database can keep: bounded, no NUL, no half characters, no infinity."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from apps.api.problems import TooLarge

MAX_BODY_BYTES = 1_048_576
MAX_DEPTH = 60
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StorableJSONParser(JSONParser):
    """JSON without what PostgreSQL refuses to store, so that it is a 400 and never a 500."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge(f"The API reads at most {MAX_BODY_BYTES} bytes.")
        try:
            data = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ParseError("The request body is not JSON in UTF-8.") from None
        check_storable(data)
        return data


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def check_storable(data: Any) -> None:
    """Raises ParseError, which says what can't be stored."""
    level = [data]
    for _ in range(MAX_DEPTH):
        for value in level:
            _check_leaf(value)
        level = [inner for value in level for inner in _get_inner(value)]
        if not level:
            return
    raise ParseError(f"The JSON is nested more than {MAX_DEPTH} levels deep.")


def _get_inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _check_leaf(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ParseError("A number is too large.")
    if isinstance(value, str) and not is_storable(value):
        raise ParseError("A text holds a NUL or half a character.")


def is_storable(text: str) -> bool:
    """Whether a database can keep it."""
    return UNSTORABLE.search(text) is None
