"""Old answer, new answer and label: what changed, and who was right."""

from __future__ import annotations

from typing import Any

from apps.pipelines.expressions import evaluate
from apps.pipelines.labels import is_same, meets
from apps.pipelines.payload import PrepareError, read_payload

WHOLE = "the answer"


def get_label(path: str, raw: bytes, content_type: str) -> Any:
    """What the payload itself says is right; None where there is nothing, or no path."""
    if not path:
        return None
    try:
        return evaluate(path, read_payload(raw, content_type))
    except PrepareError:
        return None


def compare_answers(old: Any, new: Any, label: Any, path: str) -> dict[str, Any]:
    """The fields of a row: `changed`, `is_right`, `was_right`. The two are None without a label."""
    changed = list_changed(old, new)
    return {
        "changed": changed,
        "has_changed": bool(changed),
        "is_right": None if label is None else agrees(new, label, path),
        "was_right": None if label is None or old is None else agrees(old, label, path),
    }


def check_expected(answer: Any, expected: Any) -> dict[str, Any]:
    """The fields of a row that is a sample: it has no answer to be changed."""
    return {"is_right": None if expected is None else meets(answer, expected)}


def list_changed(old: Any, new: Any) -> list[str]:
    """Names of the fields that differ; the whole where one of them is no object."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = dict.fromkeys([*old, *new])
        missing = object()
        return [name for name in names if old.get(name, missing) != new.get(name, missing)]
    return [] if old == new else [WHOLE]


def agrees(answer: Any, label: Any, path: str) -> bool:
    """Texts agree without regard to case and space around them."""
    try:
        given = evaluate(path, answer) if path else answer
    except PrepareError:
        return False
    return is_same(given, label)
