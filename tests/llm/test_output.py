"""An answer is used only if it is what the pipeline asked for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.llm.output import UnfitAnswer, read_answer
from apps.pipelines.json_schema import WrongSchema, check_schema

CATEGORY = {
    "type": "object",
    "properties": {"category": {"enum": ["billing", "card"]}, "note": {"type": "string"}},
    "required": ["category"],
    "additionalProperties": False,
}
ANYTHING: dict[str, Any] = {"description": "anything"}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "text",
    [
        '{"category": "card"}',
        '  {"category": "card"}\n',
        '```json\n{"category": "card"}\n```',
        '```\n{"category": "card"}```',
        '```JSON\n\n{"category": "card"}\n\n```',
    ],
)
def test_json_is_read_bare_or_fenced(text: str) -> None:
    assert read_answer(text, CATEGORY) == {"category": "card"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sure: card", "answer_not_json"),
        ("", "answer_not_json"),
        ('{"category": "card"} {}', "answer_not_json"),
        ('{"category": NaN}', "answer_not_json"),
        ('{"category": 1e999}', "answer_not_json"),
        ("[" * 100_000, "answer_not_json"),
        ('{"category": "food"}', "answer_off_schema"),
        ('{"category": "card", "extra": 1}', "answer_off_schema"),
        ("{}", "answer_off_schema"),
        ("null", "answer_off_schema"),
        ('{"category": "card", "note": "\\ud800"}', "answer_not_text"),
        ('{"category": "card", "note": "\\u0000"}', "answer_not_text"),
        ('{"category": "card", "\\ud800": 1}', "answer_not_text"),
        ('"' + "x" * 600_000 + '"', "answer_too_large"),
    ],
)
def test_an_unfit_answer_says_how(text: str, code: str) -> None:
    with pytest.raises(UnfitAnswer) as caught:
        read_answer(text, CATEGORY)
    assert caught.value.code == code


def test_the_error_names_the_place_in_the_schema_and_quotes_no_answer() -> None:
    with pytest.raises(UnfitAnswer) as caught:
        read_answer('{"category": "hunter2"}', CATEGORY)
    assert "properties/category/enum" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_a_schema_the_text_is_the_answer() -> None:
    assert read_answer("Dear Ada, …", {}) == "Dear Ada, …"
    with pytest.raises(UnfitAnswer):
        read_answer("\ud800", {})


def test_a_format_is_a_remark_and_no_check() -> None:
    assert read_answer('"no date"', {"type": "string", "format": "date"}) == "no date"


def test_a_reference_elsewhere_is_never_fetched() -> None:
    with pytest.raises(UnfitAnswer) as caught:
        read_answer("1", {"$ref": "http://127.0.0.1:9/schema.json"})
    assert caught.value.code == "answer_not_checked"


def test_a_pattern_takes_linear_time() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    check_schema(schema)
    started = time.monotonic()
    with pytest.raises(UnfitAnswer):
        read_answer(json.dumps("a" * 100_000 + "b"), schema)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 1},
        {"patternProperties": {"^(a+)+$": {}}},
        {"pattern": "(?=look)"},
        {"enum": [float("nan")]},
        {"description": "x" * 60_000},
    ],
)
def test_a_wrong_schema_is_refused_when_it_is_saved(schema: dict[str, Any]) -> None:
    with pytest.raises(WrongSchema):
        check_schema(schema)


def test_a_property_may_be_called_like_a_keyword() -> None:
    check_schema({"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}}})


@given(answer=JSON)
def test_whatever_json_the_model_writes_is_read_back(answer: Any) -> None:
    assert read_answer(json.dumps(answer), ANYTHING) == answer
    assert read_answer(f"```json\n{json.dumps(answer)}\n```", ANYTHING) == answer


@given(text=st.text(st.characters()))
def test_whatever_the_model_writes_gives_an_answer_or_an_unfit_answer(text: str) -> None:
    try:
        answer = read_answer(text, ANYTHING)
    except UnfitAnswer:
        return
    json.dumps(answer, allow_nan=False, ensure_ascii=False).encode("utf-8")
