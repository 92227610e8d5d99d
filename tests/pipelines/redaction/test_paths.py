"""Paths that name places in a payload."""

from __future__ import annotations

from typing import Any

import pytest

from apps.pipelines.redaction.paths import replace_at

PAYLOAD = {
    "name": "A",
    "odd name": "B",
    "people": [{"name": "C", "tags": ["x", "y"]}, {"name": "D"}, {}],
    "nested": [["E"], ["F", "G"]],
}


def hide(value: Any) -> str:
    return f"<{value}>"


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("name", {"name": "<A>"}),
        ('"odd name"', {"odd name": "<B>"}),
        ("people[0].name", {"people": [{"name": "<C>", "tags": ["x", "y"]}, {"name": "D"}, {}]}),
        ("people[-2].name", {"people": [PAYLOAD["people"][0], {"name": "<D>"}, {}]}),
        (
            "people[*].name",
            {"people": [{"name": "<C>", "tags": ["x", "y"]}, {"name": "<D>"}, {}]},
        ),
        (
            "people[].tags[]",
            {"people": [{"name": "C", "tags": ["<x>", "<y>"]}, {"name": "D"}, {}]},
        ),
        ("nested[]", {"nested": [["<E>"], ["<F>", "<G>"]]}),
        ("nested[*][0]", {"nested": [["<E>"], ["<F>", "G"]]}),
        ("nested[][]", {"nested": [["<E>"], ["<F>", "<G>"]]}),
        ("nobody.name", {}),
        ("people[9].name", {}),
        ("name.first", {}),
    ],
)
def test_a_path_replaces_what_it_names_and_nothing_else(path: str, changed: dict[str, Any]) -> None:
    assert replace_at(path, PAYLOAD, hide) == PAYLOAD | changed


def test_every_value_of_an_object() -> None:
    assert replace_at("a.*", {"a": {"b": 1, "c": 2}}, hide) == {"a": {"b": "<1>", "c": "<2>"}}
    assert replace_at("*.b", {"a": {"b": 1}, "c": 2}, hide) == {"a": {"b": "<1>"}, "c": 2}


def test_the_whole_payload() -> None:
    assert replace_at("@", [1], hide) == "<[1]>"


def test_one_thing_where_a_list_was_expected_is_hidden_too() -> None:
    assert replace_at("to[*].mail", {"to": {"mail": "x"}}, hide) == {"to": {"mail": "<x>"}}
