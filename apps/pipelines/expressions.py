"""JMESPath with bounds: an expression can't eat the worker's time or memory."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

from apps.pipelines.payload import PrepareError

MAX_EXPRESSION_CHARS = 4000
MAX_STEPS = 500_000
MAX_ITEMS = 2_000_000  # of one list, or characters of one text: above any payload
MAX_RESULT_CHARS = 500_000  # as JSON


class WrongExpression(ValueError):
    """Not a JMESPath expression; `str()` is a sentence for a form."""

    code = "wrong_expression"
    permanent = True
    retry_after_s: float | None = None


class ExpressionFailed(PrepareError):
    code = "expression_failed"


class ResultTooLarge(PrepareError):
    code = "result_too_large"


def _measure(value: Any) -> None:
    # `[@,@]|[@,@]|…` names one part 2ⁿ times: comparing or writing it out would take as long.
    if isinstance(value, list | dict):
        to_json(value)


def _equals(left: Any, right: Any) -> bool:
    _measure(left)
    return bool(TreeInterpreter.COMPARATOR_FUNC["eq"](left, right))


class _Functions(functions.Functions):
    """JMESPath's functions, with bounds on the two that look at a whole structure."""

    @functions.signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else to_json(arg)

    @functions.signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: Any, search: Any) -> bool:
        _measure(search)
        if isinstance(subject, str) and not isinstance(search, str):
            return False
        return search in subject


class _Interpreter(TreeInterpreter):
    """Counts its steps, and looks at the size of what it makes."""

    COMPARATOR_FUNC = TreeInterpreter.COMPARATOR_FUNC | {
        "eq": _equals,
        "ne": lambda left, right: not _equals(left, right),
    }

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_Functions()))
        self._steps = 0

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise ResultTooLarge(f"The expression took more than {MAX_STEPS:,} steps.")
        result = super().visit(node, *args, **kwargs)
        if isinstance(result, list | str) and len(result) > MAX_ITEMS:
            raise ResultTooLarge(f"The expression made more than {MAX_ITEMS:,} items or letters.")
        return result


@lru_cache(maxsize=500)
def compile_expression(expression: str) -> dict[str, Any]:
    """The syntax tree of a JMESPath expression; raises `WrongExpression`."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise WrongExpression(f"It is longer than {MAX_EXPRESSION_CHARS:,} characters.")
    try:
        return dict(Parser().parse(expression).parsed)
    except JMESPathError as error:
        first_line = str(error).partition("\n")[0]
        raise WrongExpression(f"It is not JMESPath: {first_line}") from None
    except RecursionError:
        raise WrongExpression("It is nested too deeply.") from None


def evaluate(expression: str, payload: Any) -> Any:
    """What the expression gives for the payload; raises `PrepareError`."""
    tree = compile_expression(expression)
    try:
        return _Interpreter().visit(tree, payload)
    except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        # JMESPath's own message may quote the payload: it is left out.
        raise ExpressionFailed(
            f"The expression does not fit the payload ({type(error).__name__})."
        ) from None


def to_json(value: Any) -> str:
    """Compact JSON; raises `ResultTooLarge` before it grows beyond `MAX_RESULT_CHARS`."""
    chunks: list[str] = []
    size = 0
    for chunk in json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).iterencode(value):
        size += len(chunk)
        if size > MAX_RESULT_CHARS:
            raise ResultTooLarge(f"The result has more than {MAX_RESULT_CHARS:,} characters.")
        chunks.append(chunk)
    return "".join(chunks)
