"""Which answers of a pipeline version wait for a person, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from apps.pipelines.expressions import WrongExpression, compile_expression, evaluate
from apps.pipelines.filter import is_wanted
from apps.pipelines.payload import PrepareError

DEFAULT_TIMEOUT_H = 24
MAX_TIMEOUT_H = 30 * 24
MAX_BELOW = 1e12
SHOWN_CHARS = 60
_KEYS = {"every", "number", "below", "rule", "timeout_h", "on_timeout"}


class OnTimeout(StrEnum):
    """What becomes of an event whose answer nobody has decided on in time."""

    DEAD_LETTER = "dead_letter"
    DISCARD = "discard"
    DELIVER = "deliver"


ON_TIMEOUT_LABELS = {
    OnTimeout.DEAD_LETTER: "Make a dead letter of it: nothing is delivered, and it can be retried",
    OnTimeout.DISCARD: "Discard it: nothing is delivered, for good",
    OnTimeout.DELIVER: "Deliver the answer although nobody has looked at it",
}
ON_TIMEOUT_SHORT = {
    OnTimeout.DEAD_LETTER: "it becomes a dead letter, and nothing is delivered",
    OnTimeout.DISCARD: "it is discarded, and nothing is delivered",
    OnTimeout.DELIVER: "the answer is delivered as it is",
}


class WrongApproval(ValueError):
    """Not an approval; `field` is the part that is wrong, `str()` a sentence for a form."""

    code = "wrong_approval"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Approval:
    """An answer waits for a person if one of three says so, and `timeout_h` hours at most.

    `number` is a JMESPath into the answer whose value must not be `below`; `rule` is one over
    `{"answer": …, "event": …}`, where `event` is the payload that the filter sees.
    """

    every: bool = False
    number: str = ""
    below: float | None = None
    rule: str = ""
    timeout_h: int = DEFAULT_TIMEOUT_H
    on_timeout: OnTimeout = OnTimeout.DEAD_LETTER

    def __bool__(self) -> bool:
        return bool(self.every or self.number or self.rule)

    def to_json(self) -> dict[str, Any]:
        """As a version keeps it; {} where nothing is held."""
        if not self:
            return {}
        holds = {"every": self.every, "number": self.number, "below": self.below, "rule": self.rule}
        said = {name: value for name, value in holds.items() if value not in (False, "", None)}
        return said | {"timeout_h": self.timeout_h, "on_timeout": self.on_timeout.value}


def read_approval(value: Any) -> Approval:
    """From the JSON of a version, {} for none; raises `WrongApproval`."""
    if not isinstance(value, dict):
        raise WrongApproval("every", "It must be a JSON object.")
    if unknown := set(value) - _KEYS:
        names = ", ".join(sorted(map(str, unknown)))[:200]
        raise WrongApproval("every", f"Unknown: {names}.")
    every = value.get("every", False)
    if not isinstance(every, bool):
        raise WrongApproval("every", "every must be true or false.")
    number = _read_expression(value, "number")
    return Approval(
        every=every,
        number=number,
        below=_read_below(value.get("below"), number),
        rule=_read_expression(value, "rule"),
        timeout_h=_read_hours(value.get("timeout_h", DEFAULT_TIMEOUT_H)),
        on_timeout=_read_on_timeout(value.get("on_timeout", OnTimeout.DEAD_LETTER)),
    )


def _read_expression(value: dict[str, Any], name: str) -> str:
    expression = value.get(name, "")
    if not isinstance(expression, str):
        raise WrongApproval(name, f"{name} must be a JMESPath expression.")
    if not expression.strip():
        return ""
    try:
        compile_expression(expression)
    except WrongExpression as error:
        raise WrongApproval(name, str(error)) from None
    return expression


def _read_below(below: Any, number: str) -> float | None:
    if below is None:
        if number:
            raise WrongApproval("below", "Say below which number an answer waits.")
        return None
    if isinstance(below, bool) or not isinstance(below, int | float):
        raise WrongApproval("below", "below must be a number.")
    if not -MAX_BELOW <= below <= MAX_BELOW:  # nor one that is not finite
        raise WrongApproval("below", f"below must be from -{MAX_BELOW:g} to {MAX_BELOW:g}.")
    if not number:
        raise WrongApproval("number", "Say which number of the answer is meant.")
    return below


def _read_hours(hours: Any) -> int:
    if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= MAX_TIMEOUT_H:
        raise WrongApproval(
            "timeout_h", f"It must be a whole number of hours from 1 to {MAX_TIMEOUT_H} (30 days)."
        )
    return hours


def _read_on_timeout(value: Any) -> OnTimeout:
    try:
        return OnTimeout(value)
    except ValueError:
        allowed = ", ".join(OnTimeout)
        raise WrongApproval("on_timeout", f"on_timeout must be one of: {allowed}.") from None


def find_reason(
    approval: Approval, answer: object, read_event: Callable[[], object] = lambda: None
) -> str:
    """Why the answer waits for a person, in plain words; empty where it does not.

    `read_event` gives the payload, and is only called where there is a rule. What can't be worked
    out holds the answer: nothing is delivered because an expression did not fit.
    """
    return " ".join(_find_reasons(approval, answer, read_event))


def _find_reasons(
    approval: Approval, answer: object, read_event: Callable[[], object]
) -> Iterator[str]:
    if approval.every:
        yield "Every answer of this pipeline waits for a person."
    if approval.number and approval.below is not None:
        yield from _check_number(approval.number, approval.below, answer)
    if approval.rule:
        yield from _check_rule(approval.rule, answer, read_event)


def _check_number(path: str, below: float, answer: object) -> Iterator[str]:
    shown = _shorten(path)
    try:
        value = evaluate(path, answer)
    except PrepareError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"The answer has no number at {shown}, which must be at least {below:g}."
    elif value < below:
        # A number of a thousand digits is JSON, too, and no float.
        told = f"{value:g}," if value > -MAX_BELOW else "far"
        yield f"Its {shown} is {told} below {below:g}."


def _check_rule(rule: str, answer: object, read_event: Callable[[], object]) -> Iterator[str]:
    try:
        if is_wanted(rule, {"answer": answer, "event": read_event()}):
            yield f"It matches the rule {_shorten(rule)}."
    except PrepareError:
        yield f"The rule {_shorten(rule)} could not be worked out for it."


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 1]}…"
