"""A pipeline that can't work is refused when it is saved, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from apps.pipelines.checks import WrongConfig, check_config


def test_a_whole_configuration_passes() -> None:
    check_config(
        filter="type == 'ticket'",
        transform="{text: body}",
        prompt="Sort {{ text }}",
        model="",
        output_schema={"type": "object", "$defs": {"a": {}}, "$ref": "#/$defs/a"},
        max_output_tokens=100,
        on_unknown="hold",
        destination="not looked at here",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filter", "a["),
        ("filter", 3),
        ("transform", "{"),
        ("prompt", ""),
        ("prompt", "{{ a b }}"),
        ("prompt", None),
        ("model", "two\nlines"),
        ("output_schema", []),
        ("output_schema", {"type": "strange"}),
        ("output_schema", {"$ref": "http://example.com/schema.json"}),
        ("output_schema", {"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
        ("output_schema", {"$ref": "#/$defs/nowhere"}),
        ("output_schema", {"properties": {"a": {"pattern": "("}}}),
        ("max_output_tokens", 0),
        ("max_output_tokens", True),
        ("max_output_tokens", "5"),
        ("on_unknown", "guess"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(WrongConfig) as caught:
        check_config(**{field: value})
    assert caught.value.field == field
    assert caught.value.message
