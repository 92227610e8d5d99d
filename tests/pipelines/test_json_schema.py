"""A schema that somebody typed: checked where it is typed, bounded where it is used."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.pipelines.json_schema import NotCheckable, OffSchema, Schema, WrongSchema, check_schema

DOUBLING = {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_value_that_does_not_fit_is_told_by_its_place_in_the_schema() -> None:
    schema = Schema({"properties": {"amount": {"type": "number"}}})
    schema.check({"amount": 1})
    with pytest.raises(OffSchema) as caught:
        schema.check({"amount": "4711-secret"})
    assert caught.value.place == "properties/amount/type"
    assert "4711" not in str(caught.value)


def test_a_schema_that_doubles_with_each_level_is_given_up_soon() -> None:
    schema = Schema(DOUBLING)
    schema.check(nested(5))
    began = time.thread_time()
    with pytest.raises(NotCheckable):
        schema.check(nested(60))
    assert time.thread_time() - began < 5
    schema.check(nested(5))  # the steps of one value are not counted on the next


def test_many_items_are_compared_in_linear_time() -> None:
    schema = Schema({"uniqueItems": True})
    items: list[Any] = [{"number": number} for number in range(20_000)]
    began = time.thread_time()
    schema.check(items)
    assert time.thread_time() - began < 5
    with pytest.raises(OffSchema):
        schema.check([*items, {"number": 7}])


@pytest.mark.parametrize("items", [[1, True], [0, False], [[1], [True]], ["1", 1], [{}, []]])
def test_unlike_items_are_unique(items: list[Any]) -> None:
    Schema({"uniqueItems": True}).check(items)


@pytest.mark.parametrize("items", [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[], []]])
def test_like_items_are_not(items: list[Any]) -> None:
    with pytest.raises(OffSchema):
        Schema({"uniqueItems": True}).check(items)


def test_text_that_is_none_matches_no_pattern() -> None:
    with pytest.raises(OffSchema):
        Schema({"pattern": "."}).check("\ud800")


def test_a_number_beyond_all_bounds_is_not_checked() -> None:
    with pytest.raises(NotCheckable):
        Schema({"multipleOf": 0.5}).check(10**400)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, "draft 2020-12"),
        ({"$ref": "https://example.com/schema.json"}, "must stay inside"),
        ({"pattern": "(a+)+\\1"}, "linear time"),
        ([], "JSON object"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: Any, words: str) -> None:
    with pytest.raises(WrongSchema, match=words.replace("(", r"\(")):
        check_schema(schema)
