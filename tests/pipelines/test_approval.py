"""Which answers wait for a person, and what they are told of the reason."""

from __future__ import annotations

from typing import Any

import pytest

from apps.pipelines.approval import find_reason, read_approval

SURE = {"number": "confidence", "below": 0.8}


def ask(terms: dict[str, Any], answer: object, event: object = None) -> str:
    return find_reason(read_approval(terms), answer, lambda: event)


@pytest.mark.parametrize("confidence", [0.8, 1, 10**400])
def test_a_number_that_is_high_enough_waits_for_nobody(confidence: object) -> None:
    assert ask(SURE, {"confidence": confidence}) == ""


@pytest.mark.parametrize("confidence", [0.79, 0, -5])
def test_a_number_below_waits(confidence: float) -> None:
    said = f"Its confidence is {confidence:g}, below 0.8."
    assert ask(SURE, {"confidence": confidence}) == said


def test_a_number_of_a_thousand_digits_waits_too() -> None:
    assert ask(SURE, {"confidence": -(10**1000)}) == "Its confidence is far below 0.8."


@pytest.mark.parametrize("answer", [{}, {"confidence": "0.9"}, {"confidence": True}, "text", None])
def test_what_is_no_number_waits(answer: object) -> None:
    assert (
        ask(SURE, answer) == "The answer has no number at confidence, which must be at least 0.8."
    )


def test_a_rule_sees_answer_and_event() -> None:
    terms = {"rule": "answer.team == 'legal' || event.amount > `1000`"}
    assert ask(terms, {"team": "sales"}, {"amount": 10}) == ""
    assert "matches the rule" in ask(terms, {"team": "legal"}, {"amount": 10})
    assert "matches the rule" in ask(terms, {"team": "sales"}, {"amount": 2000})


@pytest.mark.parametrize("rule", ["length(answer.team)", "sort(answer.none)"])
def test_a_rule_that_does_not_fit_holds_the_answer(rule: str) -> None:
    assert "could not be worked out" in ask({"rule": rule}, {"team": 1})


def test_all_reasons_are_told() -> None:
    said = ask(SURE | {"every": True, "rule": "answer"}, {"confidence": 0})
    assert said.count(".") >= 3
    assert said.startswith("Every answer")


def test_nothing_said_holds_nothing() -> None:
    assert not read_approval({})
    assert not read_approval({"timeout_h": 3})
    assert ask({}, {}) == ""
