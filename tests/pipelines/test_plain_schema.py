"""The quick way through a plain schema says what the whole of JSON Schema says."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from apps.pipelines.json_schema import _matches
from apps.pipelines.plain_schema import Fits, compile_plain

NAMES = st.sampled_from(["a", "b", "c"])
SMALL = st.integers(-2, 4)
SCALARS = (
    st.none()
    | st.booleans()
    | SMALL
    | st.sampled_from([0.0, 1.0, 1.5, -0.5, 1e300, 10**400])
    | st.sampled_from(["", "a", "ab", "é", "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
COUNTS = st.integers(0, 3)


def make_object(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(st.sampled_from(["", "a", "ab"]), min_size=1, unique=True),
            "const": st.sampled_from(["a", "ab"]),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, unique=True, max_size=2),
            "additionalProperties": inner,
            "minProperties": COUNTS,
            "maxProperties": COUNTS,
            "items": inner,
            "minItems": COUNTS,
            "maxItems": COUNTS,
            "minLength": COUNTS,
            "maxLength": COUNTS,
            "pattern": st.sampled_from(["a", "^$", "b$"]),
            "minimum": SMALL,
            "maximum": SMALL,
            "exclusiveMinimum": SMALL,
            "exclusiveMaximum": SMALL,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "description": st.just("anything"),
        },
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.just({}), make_object, max_leaves=6
)


def compiled(schema: Any) -> Fits:
    fits = compile_plain(schema, _matches)
    assert fits is not None
    return fits


@given(SCHEMAS, VALUES)
def test_it_says_what_json_schema_says(schema: Any, value: Any) -> None:
    assert compiled(schema)(value) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"oneOf": [True]},
        {"not": {}},
        {"enum": [1]},
        {"const": {"a": 1}},
        {"items": {"uniqueItems": True}},
        {"properties": {"a": {"prefixItems": [True]}}},
        {"multipleOf": 0.1},
        {"if": {}, "then": False},
        {"unevaluatedProperties": False},
        {"a keyword of tomorrow": 1},
        {"items": {"anyOf": [{"type": "string"}] * 400}},
        {"anyOf": [{"allOf": [{"type": "string"}] * 10}] * 10},
    ],
)
def test_whatever_else_is_left_to_json_schema(schema: Any) -> None:
    assert compile_plain(schema, _matches) is None


def test_a_large_body_is_checked_in_no_time() -> None:
    item = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    fits = compiled({"type": "array", "items": item})
    body = [{"id": number, "text": "x" * 20} for number in range(30_000)]
    began = time.thread_time()
    assert fits(body)
    assert time.thread_time() - began < 1
