"""Shapes the payload for the prompt."""

from __future__ import annotations

from typing import Any

from apps.pipelines.expressions import evaluate, to_json


def transform(expression: str, payload: Any) -> Any:
    """What the JMESPath expression makes of the payload; raises `PrepareError`."""
    result = evaluate(expression, payload)
    to_json(result)  # measures: a small expression can name the same part many times
    return result
