"""Paths of one's own: JMESPath that names places, so that what stands there can be replaced."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from apps.pipelines.expressions import WrongExpression, compile_expression

Replace = Callable[[Any], Any]
Node = dict[str, Any]
MAX_PATH_CHARS = 200


class WrongPath(ValueError):
    """Not a path that names places; `str()` is a sentence for a form."""

    code = "wrong_path"
    permanent = True
    retry_after_s: float | None = None


@lru_cache(maxsize=500)
def parse_path(path: str) -> Node:
    """JMESPath's syntax tree; raises `WrongPath`.

    Only names, indices, `[*]`, `[]`, `*` and `@`: what a function or a filter gives has no place.
    """
    if len(path) > MAX_PATH_CHARS:
        raise WrongPath(f"A path has at most {MAX_PATH_CHARS} characters.")
    try:
        tree = compile_expression(path)
    except WrongExpression as error:
        raise WrongPath(f"{path!r} is not a path. {error}") from None
    _check(path, tree)
    return tree


def _check(path: str, node: Node) -> None:
    if node["type"] not in _STEPS:
        raise WrongPath(
            f"{path!r} is not a path: use names, [0], [*] and *, such as customer.name."
        )
    for child in node["children"]:
        _check(path, child)


def replace_at(path: str, payload: Any, replace: Replace) -> Any:
    """A copy of the payload in which `replace` has been asked for whatever the path leads to."""
    return _walk(parse_path(path), payload, replace)


def _walk(node: Node, value: Any, replace: Replace) -> Any:
    return _STEPS[node["type"]](node, value, replace)


def _at_field(node: Node, value: Any, replace: Replace) -> Any:
    name = node["value"]
    if isinstance(value, dict) and name in value:
        return {**value, name: replace(value[name])}
    return value


def _at_index(node: Node, value: Any, replace: Replace) -> Any:
    index = node["value"]
    if isinstance(value, list) and -len(value) <= index < len(value):
        copy = list(value)
        copy[index] = replace(value[index])
        return copy
    return value


def _at_itself(node: Node, value: Any, replace: Replace) -> Any:
    return replace(value)


def _in_turn(node: Node, value: Any, replace: Replace) -> Any:
    def walk_on(steps: list[Node], part: Any) -> Any:
        first, *rest = steps
        return _walk(first, part, (lambda found: walk_on(rest, found)) if rest else replace)

    return walk_on(node["children"], value)


def _at_each_item(node: Node, value: Any, replace: Replace) -> Any:
    left, right = node["children"]
    levels = 1
    while left["type"] == "flatten":
        left, levels = left["children"][0], levels + 1

    def at_items(part: Any, level: int) -> Any:
        if isinstance(part, list) and level:
            return [at_items(item, level - 1) for item in part]
        # One thing where a list was expected counts as its only item: rather masked than shown.
        return _walk(right, part, replace)

    return _walk(left, value, lambda found: at_items(found, levels))


def _at_each_value(node: Node, value: Any, replace: Replace) -> Any:
    left, right = node["children"]

    def at_values(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return {name: _walk(right, each, replace) for name, each in part.items()}

    return _walk(left, value, at_values)


_STEPS: dict[str, Callable[[Node, Any, Replace], Any]] = {
    "field": _at_field,
    "index": _at_index,
    "identity": _at_itself,
    "current": _at_itself,
    "subexpression": _in_turn,
    "index_expression": _in_turn,
    "projection": _at_each_item,
    "value_projection": _at_each_value,
    "flatten": _at_itself,  # only as the left of a projection, which looks into it
}
