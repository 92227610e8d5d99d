"""Reading the body, only where a scheme must: for an event type or id, or signed fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jmespath
import jmespath.exceptions

from apps.sources.schemes.base import Request
from apps.sources.schemes.options import WrongOptions

_PLAIN_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FORM = b"application/x-www-form-urlencoded"

Search = Callable[[Any], Any]
"""Finds something in a parsed body; None where it is not there."""


def read_body(request: Request) -> Any:
    """The body as JSON, or a form as {name: first value}; None where it is neither."""
    if request.headers.get(b"content-type", b"").lower().startswith(_FORM):
        return _read_form(request.body)
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        return None


def _read_form(body: bytes) -> Any:
    try:
        form = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return None
    return {name: values[0] for name, values in form.items()}


def compile_path(option: str, path: str) -> Search:
    """A JMESPath as a function; plain dotted names take a much shorter way.

    Raises `WrongOptions` naming `option`.
    """
    if _PLAIN_PATH.fullmatch(path):
        return _plain_search(tuple(path.split(".")))
    try:
        compiled = jmespath.compile(path)
    except jmespath.exceptions.JMESPathError:
        raise WrongOptions(option, f"“{path}” is not a JMESPath expression.") from None

    def search(document: Any) -> Any:
        try:
            return compiled.search(document)
        except jmespath.exceptions.JMESPathError:
            return None  # the expression does not fit this body

    return search


def _plain_search(names: tuple[str, ...]) -> Search:
    def search(document: Any) -> Any:
        for name in names:
            if not isinstance(document, dict):
                return None
            document = document.get(name)
        return document

    return search
