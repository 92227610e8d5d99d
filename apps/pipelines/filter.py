"""Does a pipeline want this event?"""

from __future__ import annotations

from typing import Any

from apps.pipelines.expressions import evaluate


def is_wanted(expression: str, payload: Any) -> bool:
    """JMESPath's own truth: null, false and empty text, lists and objects are no; 0 is yes."""
    result = evaluate(expression, payload)
    return not (result is None or result is False or result == "" or result == [] or result == {})
