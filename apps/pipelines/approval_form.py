"""The part of a pipeline's form that says which answers wait for a person, and for how long."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from apps.pipelines.approval import (
    DEFAULT_TIMEOUT_H,
    ON_TIMEOUT_LABELS,
    OnTimeout,
    WrongApproval,
    read_approval,
)

HOURS = {"hours": 1, "days": 24}
PARTS = ("every", "number", "below", "rule", "time", "unit", "on_timeout")
FIELDS = [f"approval_{part}" for part in PARTS]


class ApprovalForm(forms.Form):
    """Seven fields that are one object in a version."""

    approval_every = forms.BooleanField(
        label="Hold every answer",
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="None is delivered before somebody of the support staff has approved it.",
    )
    approval_number = forms.CharField(
        label="Hold answers whose",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A number of the answer, as JMESPath: confidence, or scores.spam. One that is "
        "missing, or is no number, counts as below.",
    )
    approval_below = forms.FloatField(
        label="is below",
        required=False,
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="For example 0.8.",
    )
    approval_rule = forms.CharField(
        label="Hold answers that match",
        required=False,
        widget=UnfoldAdminTextareaWidget(
            {"class": "pa-code-input", "spellcheck": "false", "rows": 2}
        ),
        help_text="JMESPath over the answer and the event's payload, for example "
        "answer.team == 'legal' || event.amount > `1000`. What can't be worked out is held.",
    )
    approval_time = forms.IntegerField(
        label="Time to decide",
        required=False,
        min_value=1,
        initial=DEFAULT_TIMEOUT_H,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="At most 30 days.",
    )
    approval_unit = forms.ChoiceField(
        label="in",
        required=False,
        choices=[(unit, unit) for unit in HOURS],
        widget=UnfoldAdminSelectWidget(),
    )
    approval_on_timeout = forms.ChoiceField(
        label="When nobody decides in time",
        required=False,
        choices=[(each.value, label) for each, label in ON_TIMEOUT_LABELS.items()],
        initial=OnTimeout.DEAD_LETTER.value,
        widget=UnfoldAdminSelectWidget(),
    )

    def set_approval(self, approval: dict[str, Any]) -> None:
        """Show what a version says."""
        shown = read_approval(approval)
        in_days = shown.timeout_h % 24 == 0 and shown.timeout_h > 24
        values = {
            "approval_every": shown.every,
            "approval_number": shown.number,
            "approval_below": shown.below,
            "approval_rule": shown.rule,
            "approval_time": shown.timeout_h // 24 if in_days else shown.timeout_h,
            "approval_unit": "days" if in_days else "hours",
            "approval_on_timeout": shown.on_timeout.value,
        }
        for name, value in values.items():
            self.initial.setdefault(name, value)

    def get_approval(self) -> dict[str, Any]:
        """As typed, in the form of a version; what is wrong, as far as it can be read."""
        try:
            return read_approval(self._get_typed()).to_json()
        except WrongApproval:
            return self._get_typed()

    def _get_typed(self) -> dict[str, Any]:
        typed = self.cleaned_data
        time = typed.get("approval_time") or DEFAULT_TIMEOUT_H
        return {
            "every": typed.get("approval_every", False),
            "number": typed.get("approval_number", ""),
            "below": typed.get("approval_below"),
            "rule": typed.get("approval_rule", "").replace("\r\n", "\n"),
            "timeout_h": time * HOURS[typed.get("approval_unit") or "hours"],
            "on_timeout": typed.get("approval_on_timeout") or OnTimeout.DEAD_LETTER.value,
        }

    def check_approval(self) -> None:
        """Tell what is wrong at the field where it was typed."""
        try:
            read_approval(self._get_typed())
        except WrongApproval as error:
            part = "time" if error.field == "timeout_h" else error.field
            self.add_error(f"approval_{part}", str(error))
