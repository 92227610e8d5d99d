"""Filter and transform: JMESPath that can't eat a worker."""

from __future__ import annotations

import time

import pytest

from apps.pipelines.expressions import (
    ExpressionFailed,
    ResultTooLarge,
    WrongExpression,
    compile_expression,
)
from apps.pipelines.filter import is_wanted
from apps.pipelines.transform import transform

TICKET = {"type": "ticket", "tags": ["vip", "eu"], "n": 0, "user": {"name": "Ada"}}
TOWER = "|".join(["[@, @]"] * 60)
HASHES = "|".join(["{a: @, b: @}"] * 60)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("type == 'ticket'", True),
        ("type == 'invoice'", False),
        ("contains(tags, 'vip')", True),
        ("contains(tags, 'us')", False),
        ("contains(type, 'tick')", True),
        ("tags[?@ == 'us']", False),
        ("n", True),
        ("missing", False),
        ("user", True),
        ("`false`", False),
        ("''", False),
    ],
)
def test_a_filter_has_the_truth_of_jmespath(expression: str, wanted: bool) -> None:
    assert is_wanted(expression, TICKET) is wanted


def test_a_transform_shapes_the_payload() -> None:
    shaped = transform("{who: user.name, first: tags[0], none: missing}", TICKET)
    assert shaped == {"who": "Ada", "first": "vip", "none": None}


@pytest.mark.parametrize("expression", ["a[", "a ==", "nope(", "{a}", "a" * 5000])
def test_a_wrong_expression_is_refused_when_it_is_saved(expression: str) -> None:
    with pytest.raises(WrongExpression):
        compile_expression(expression)


@pytest.mark.parametrize("expression", ["length(n)", "no_such_function(n)", "join(',', tags, n)"])
def test_an_expression_that_does_not_fit_fails_for_good(expression: str) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        transform(expression, TICKET)
    assert caught.value.permanent


def test_its_error_does_not_quote_the_payload() -> None:
    with pytest.raises(ExpressionFailed) as caught:
        transform("abs(secret)", {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "expression",
    [
        TOWER,
        HASHES,
        f"{TOWER} | to_string(@)",
        f"{{a: {TOWER}, b: {TOWER}}} | a == b",
        f"{{a: {TOWER}, b: {TOWER}}} | a != b",
        f"{{a: [{TOWER}], b: {TOWER}}} | contains(a, b)",
        "|".join(["[@, @][]"] * 60),
        "|".join(["join('', [@, @])"] * 60),
    ],
    ids=["lists", "hashes", "to_string", "equal", "unequal", "contains", "flatten", "join"],
)
def test_a_small_expression_cannot_do_exponential_work(expression: str) -> None:
    started = time.monotonic()
    with pytest.raises(ResultTooLarge):
        transform(expression, "a long enough text")
    assert time.monotonic() - started < 5
