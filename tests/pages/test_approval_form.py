"""Which answers wait for a person, said in a pipeline's draft."""

from __future__ import annotations

from typing import Any

import pytest

from apps.pipelines.draft_form import DraftForm
from apps.pipelines.models import Pipeline


def fill(pipeline: Pipeline, **typed: Any) -> DraftForm:
    """The form of the draft, filled in as it is shown, but for `typed`."""
    shown = DraftForm(pipeline.get_draft())
    data = {name: shown.get_initial_for_field(field, name) for name, field in shown.fields.items()}
    data = {name: value for name, value in data.items() if value not in (None, False)}
    return DraftForm(pipeline.get_draft(), data | {"output_schema": "", "fallbacks": ""} | typed)


def test_what_was_typed_is_what_the_version_says(triage: Pipeline) -> None:
    form = fill(
        triage,
        approval_number="confidence",
        approval_below="0.8",
        approval_rule="answer.team == 'legal'",
        approval_time="3",
        approval_unit="days",
        approval_on_timeout="discard",
    )
    assert form.is_valid(), form.errors
    terms = form.get_version().approval
    assert terms == {
        "number": "confidence",
        "below": 0.8,
        "rule": "answer.team == 'legal'",
        "timeout_h": 72,
        "on_timeout": "discard",
    }
    triage.publish(**form.get_version().get_values())
    again = fill(triage)
    assert again.is_valid(), again.errors
    assert again.get_version().approval == terms


def test_nothing_typed_holds_nothing(triage: Pipeline) -> None:
    form = fill(triage)
    assert form.is_valid(), form.errors
    assert form.get_version().approval == {}


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"approval_rule": "answer ["}, "approval_rule", "not JMESPath"),
        ({"approval_number": "confidence"}, "approval_below", "below which number"),
        ({"approval_below": "1"}, "approval_number", "which number"),
        ({"approval_time": "31", "approval_unit": "days"}, "approval_time", "30 days"),
    ],
)
def test_what_is_wrong_is_told_where_it_was_typed(
    triage: Pipeline, typed: dict[str, str], field: str, said: str
) -> None:
    form = fill(triage, **typed)
    assert not form.is_valid()
    assert said in form.errors[field][0]
