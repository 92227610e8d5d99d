"""Is a pipeline's configuration usable? Asked by form and API before a version is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.pipelines.approval import read_approval
from apps.pipelines.expressions import WrongExpression, compile_expression
from apps.pipelines.json_schema import WrongSchema, check_schema
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prompt import WrongPrompt, compile_prompt
from apps.pipelines.redaction.config import read_redaction
from apps.pipelines.targets import read_fallbacks

MAX_OUTPUT_TOKENS = 100_000
MAX_WAIT_H = 72


class WrongConfig(ValueError):
    """One field of a pipeline can't be used: `field` is its name, `message` a plain sentence."""

    code = "wrong_config"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def check_config(**fields: Any) -> None:
    """Check fields of PipelineVersion, as many as are given; raises `WrongConfig` at the first."""
    for name, value in fields.items():
        if check := _CHECKS.get(name):
            try:
                check(value)
            except (WrongExpression, WrongPrompt, WrongSchema, ValueError) as error:
                raise WrongConfig(name, str(error)) from None


def _check_expression(value: Any) -> None:
    if value:
        compile_expression(_as_text(value))


def _check_prompt(value: Any) -> None:
    compile_prompt(_as_text(value))


def _check_model(value: Any) -> None:
    if _as_text(value) and (len(value) > 120 or not value.isprintable() or value != value.strip()):
        raise ValueError("It is not the name of a model.")


def _check_tokens(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_OUTPUT_TOKENS:
        raise ValueError(f"It must be a whole number from 1 to {MAX_OUTPUT_TOKENS:,}.")


def _check_wait(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_WAIT_H:
        raise ValueError(f"It must be a whole number of hours from 0 to {MAX_WAIT_H}.")


def _check_on_unknown(value: Any) -> None:
    if value not in PipelineVersion.OnUnknown.values:
        allowed = ", ".join(PipelineVersion.OnUnknown.values)
        raise ValueError(f"It must be one of: {allowed}.")


def _as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("It must be text.")
    return value


_CHECKS: dict[str, Callable[[Any], object]] = {
    "filter": _check_expression,
    "transform": _check_expression,
    "prompt": _check_prompt,
    "provider": _as_text,
    "model": _check_model,
    "fallbacks": read_fallbacks,
    "output_schema": check_schema,
    "max_output_tokens": _check_tokens,
    "may_wait_h": _check_wait,
    "on_unknown": _check_on_unknown,
    "redaction": read_redaction,
    "approval": read_approval,
}
