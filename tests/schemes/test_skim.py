"""A skimmed body tells the same as a parsed one, or says that it can't tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sources.schemes.base import Request
from apps.sources.schemes.body import get_names, is_json, read_body, skim
from apps.sources.schemes.skim import MAX_BYTES, Skim

WANTED = Skim(["type", "id"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["type", "id", "typ", "data", "é"]), VALUES)
# What a parser refuses, each as the value of a field that nobody wants.
BROKEN = [
    *(b"NaN", b"-Infinity", b"01", b"1.", b".5", b"+1", b"-", b"1e", b"0x1", b"1_0", b"tru"),
    *(b"[1,]", b"{,}", b"[", b'"', b'"a\nb"', b'"\\x"', b'"\\u12g4"', b'"\xff"', b'"\xc0\x80"'),
    *(b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b"1} x", b"/**/1", b"9" * (MAX_BYTES + 1)),
]


def make(body: bytes, content_type: bytes = b"application/json") -> Request:
    return Request("POST", "", {b"content-type": content_type}, body, 0.0)


def parse(body: bytes) -> Any:
    request = make(body, b"application/hal+json")  # of this type nothing is skimmed
    return read_body(request), is_json(request)


@given(OBJECTS, st.booleans())
def test_the_wanted_fields_are_those_that_a_parser_finds(document: Any, is_ascii: bool) -> None:
    body = json.dumps(document, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found = skim(make(body), WANTED)
    parsed, is_right = parse(body)
    assert is_json(make(body)) is is_right
    if found is not None:
        given = {name: parsed.get(name) for name in ("type", "id")}
        assert found == {name: value for name, value in given.items() if value is not None}
        assert is_right


def test_a_plain_body_is_skimmed() -> None:
    request = make('{"data": [1, {"type": 2}], "id": "ü", "type": "a"}'.encode())
    assert skim(request, WANTED) == {"id": "ü", "type": "a"}
    assert request.is_known_json


@pytest.mark.parametrize("value", BROKEN, ids=lambda value: value[:12].hex())
def test_what_a_parser_refuses_is_not_skimmed(value: bytes) -> None:
    body = b'{"type": "a", "data": ' + value + b"}"
    assert skim(make(body), WANTED) is None
    assert not is_json(make(body))


@pytest.mark.parametrize(
    "body",
    [
        *(b"[1]", b"1", b"null", b'{"type": 7}', b'{"type": "\\ud800"}', b'{"data": "\\ud800"}'),
        b'{"data": "' + b"a" * MAX_BYTES + b'"}',
    ],
    ids=lambda body: body[:20].decode(),
)
def test_where_it_can_not_tell_a_parser_is_asked(body: bytes) -> None:
    assert skim(make(body), WANTED) is None
    assert is_json(make(body))


def test_a_parsed_body_and_other_types_are_not_skimmed() -> None:
    assert skim(make(b'{"type": "a"}', b"text/plain"), WANTED) is None
    request = make(b'{"type": "a"}')
    read_body(request)
    assert skim(request, WANTED) is None


@pytest.mark.parametrize(
    ("path", "names"),
    [
        *(("type", ["type"]), ("type || kind", ["type", "kind"]), ("a.b", None), ("a[0]", None)),
        *(("join('', [a])", None), ("a | b", None)),
    ],
)
def test_only_paths_of_names_at_the_top_are_skimmed(path: str, names: list[str] | None) -> None:
    assert get_names(path) == names
