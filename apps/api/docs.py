"""The API's documentation as a page: rendered here from the OpenAPI document, without a script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator

METHODS = ("get", "post", "patch", "delete")


@dataclass(frozen=True)
class Field:
    """One parameter, or one field of a body."""

    name: str
    type: str
    help: str
    is_required: bool


@dataclass(frozen=True)
class Operation:
    """One method at one address."""

    id: str
    method: str
    path: str
    help: str
    parameters: list[Field]
    body: list[Field]
    answers: dict[str, list[Field]]  # by status


@dataclass(frozen=True)
class Noun:
    """All operations of one noun."""

    name: str
    operations: list[Operation]


def docs_page(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html", {"nouns": get_nouns()})


@lru_cache(maxsize=1)
def get_nouns() -> list[Noun]:
    """The API by noun, in the order of the router."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema: Any = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    nouns: dict[str, list[Operation]] = {}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                noun = operations[method]["tags"][0]
                operation = _get_operation(path, method, operations[method], schema)
                nouns.setdefault(noun, []).append(operation)
    return [Noun(name, operations) for name, operations in nouns.items()]


def _get_operation(path: str, method: str, raw: dict[str, Any], schema: Any) -> Operation:
    answers = {code: answer for code, answer in raw["responses"].items() if code != "default"}
    return Operation(
        id=raw["operationId"],
        method=method.upper(),
        path=path,
        help=raw.get("description", ""),
        parameters=[_get_parameter(each) for each in raw.get("parameters", [])],
        body=_get_fields(_get_json_schema(raw.get("requestBody", {})), schema),
        answers={
            code: _get_fields(_get_json_schema(answer), schema) for code, answer in answers.items()
        },
    )


def _get_parameter(raw: dict[str, Any]) -> Field:
    is_required = bool(raw.get("required"))
    return Field(raw["name"], _get_type(raw["schema"]), raw.get("description", ""), is_required)


def _get_json_schema(raw: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = raw.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def _get_fields(shape: dict[str, Any], schema: Any) -> list[Field]:
    """The fields of an object; of a page, the fields of its rows."""
    shape = _resolve(shape, schema)
    rows = shape.get("properties", {}).get("results")
    if rows:
        shape = _resolve(rows["items"], schema)
    required = shape.get("required", [])
    return [
        Field(name, _get_type(raw), raw.get("description", ""), name in required)
        for name, raw in shape.get("properties", {}).items()
    ]


def _resolve(shape: dict[str, Any], schema: Any) -> dict[str, Any]:
    reference = shape.get("$ref")
    if reference is None:
        return shape
    resolved: dict[str, Any] = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return resolved


def _get_type(raw: dict[str, Any]) -> str:
    """A type as a person reads it: `string (date-time), null`."""
    if "$ref" in raw:
        return str(raw["$ref"].rsplit("/", 1)[1])
    for several in ("allOf", "oneOf", "anyOf"):
        if several in raw:
            return " or ".join(_get_type(each) for each in raw[several])
    if "enum" in raw:
        return ", ".join("null" if each is None else str(each) for each in raw["enum"])
    types = raw.get("type", "any")
    text = ", ".join(types) if isinstance(types, list) else str(types)
    if text == "array":
        return f"list of {_get_type(raw.get('items', {}))}"
    return f"{text} ({raw['format']})" if "format" in raw else text
