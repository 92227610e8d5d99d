"""Which redactions a pipeline may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from apps.pipelines.redaction.config import OwnPattern, Redaction, WrongRedaction, read_redaction
from apps.pipelines.redaction.kinds import describe_counts


def test_an_empty_object_redacts_nothing() -> None:
    assert not read_redaction({})
    assert not read_redaction({"countries": ["DE"], "reversible": True})


def test_everything_can_be_said() -> None:
    given = {
        "kinds": ["email", "card"],
        "countries": ["DE", "AT"],
        "paths": ["customer.name", "contacts[*].phone"],
        "patterns": [{"name": "ORDER", "pattern": r"ORD-\d{6}"}],
        "reversible": True,
    }
    assert read_redaction(given) == Redaction(
        kinds=("email", "card"),
        countries=("DE", "AT"),
        paths=("customer.name", "contacts[*].phone"),
        patterns=(OwnPattern("ORDER", r"ORD-\d{6}"),),
        reversible=True,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "JSON object"),
        ({"kind": []}, "Unknown: kind"),
        ({"kinds": ["names"]}, "only: email"),
        ({"kinds": "email"}, "must be a list"),
        ({"kinds": [["email"]]}, "only: email"),
        ({"countries": ["XX"]}, "countries may hold only"),
        ({"reversible": "yes"}, "true or false"),
        ({"paths": [1]}, "not a path"),
        ({"paths": ["a[?b=='c']"]}, "names, [0]"),
        ({"paths": ["length(a)"]}, "names, [0]"),
        ({"paths": ["a."]}, "not JMESPath"),
        ({"paths": ["a" * 300]}, "at most 200"),
        ({"paths": ["a"] * 51}, "at most 50"),
        ({"patterns": [{"name": "ORDER"}]}, "name and pattern"),
        ({"patterns": [{"name": "order", "pattern": "x"}]}, "capital letters"),
        ({"patterns": [{"name": "EMAIL", "pattern": "x"}]}, "built-in"),
        ({"patterns": [{"name": "A", "pattern": "("}]}, "linear time"),
        ({"patterns": [{"name": "A", "pattern": r"(?=x)"}]}, "linear time"),
        ({"patterns": [{"name": "A", "pattern": r"(x)\1"}]}, "linear time"),
        ({"patterns": [{"name": "A", "pattern": "x*"}]}, "empty text"),
        ({"patterns": [{"name": "A", "pattern": "x" * 501}]}, "1 to 500"),
        ({"patterns": [{"name": "A", "pattern": "\ud800"}]}, "linear time"),
        ({"patterns": [{"name": "A", "pattern": "x"}] * 2}, "same name"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, said: str) -> None:
    with pytest.raises(WrongRedaction) as caught:
        read_redaction(wrong)
    assert said in str(caught.value)


def test_counts_are_told_in_words() -> None:
    assert describe_counts({}) == ""
    assert describe_counts({"card": 1, "email": 3}) == "3 e-mail addresses and 1 card number"
    assert describe_counts({"field": 2, "phone": 1, "pattern": 1}) == (
        "1 phone number, 2 fields and 1 match of your own patterns"
    )
