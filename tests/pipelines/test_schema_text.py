"""What is wrong with a typed schema is said with its line."""

from __future__ import annotations

import pytest

from apps.pipelines.schema_text import WrongSchemaText, find_line, read_schema

GOOD = """{
  "type": "object",
  "properties": {
    "label": {"enum": ["a", "b"]},
    "score": {
      "type": "number"
    }
  }
}"""


def test_nothing_is_no_schema_and_a_good_one_is_read() -> None:
    assert read_schema(" \n") == {}
    assert read_schema(GOOD)["properties"]["score"] == {"type": "number"}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('"number"', "number", 6, "not JSON"),
        ('"number"', '"numbr"', 6, "numbr"),
        ('"a", "b"', '"a", "b"], "$ref": "#/nowhere", "x": [', 4, "leads nowhere"),
        ('{"enum": ["a", "b"]}', '{"pattern": "(?=a)"}', 4, "linear time"),
        ('"type": "object",', '"type": "object",\n  "patternProperties": {},', 3, "not supported"),
        ('"properties": {\n', '"required": ["a",\n\n 7],\n"properties": {\n', 5, "7"),
    ],
)
def test_an_error_has_its_line(old: str, new: str, line: int, said: str) -> None:
    with pytest.raises(WrongSchemaText, match=f"^Line {line}: .*{said}") as caught:
        read_schema(GOOD.replace(old, new))
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000, '"' + "x" * 200_000 + '"'])
def test_what_is_wrong_as_a_whole_has_no_line(text: str) -> None:
    with pytest.raises(WrongSchemaText) as caught:
        read_schema(text)
    assert caught.value.line is None


def test_names_and_numbers_lead_to_a_line() -> None:
    text = '{"a": [1,\n {"b}": "x\\"{",\n "c": 2, "c":\n 3}]}'
    assert find_line(text, ["a", 1, "b}"]) == 2
    assert find_line(text, ["a", 1, "c"]) == 4
    assert find_line(text, ["a", 0]) == 1
    assert find_line(text, []) == 1
