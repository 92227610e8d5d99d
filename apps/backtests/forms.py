"""The form that starts a backtest."""

from __future__ import annotations

from decimal import Decimal

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.backtests.models import MAX_EVENTS
from apps.pipelines.expressions import WrongExpression, compile_expression


def _path(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text=help_text,
    )


class BacktestForm(forms.Form):
    """How many events, for how much, and what is right."""

    count = forms.IntegerField(
        label="Newest events",
        min_value=1,
        max_value=MAX_EVENTS,
        initial=50,
        widget=UnfoldAdminTextInputWidget({"inputmode": "numeric"}),
        help_text=f"Up to {MAX_EVENTS}.",
    )
    cap_usd = forms.DecimalField(
        label="Cap in US dollars",
        min_value=Decimal("0.000001"),
        max_value=Decimal(100_000),
        max_digits=12,
        decimal_places=6,
        initial=Decimal(1),
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="It stops before a call that might cost more than what is left.",
    )
    label_path = _path(
        "Label", "JMESPath into the payload, where it says what is right: label.team. May be empty."
    )
    answer_path = _path(
        "Compared with", "JMESPath into the answer: category. Empty: the whole answer."
    )

    def clean_label_path(self) -> str:
        return self._check("label_path")

    def clean_answer_path(self) -> str:
        return self._check("answer_path")

    def _check(self, name: str) -> str:
        path: str = self.cleaned_data[name]
        try:
            if path:
                compile_expression(path)
        except WrongExpression as error:
            raise forms.ValidationError(str(error)) from None
        return path


class CapForm(forms.Form):
    """With how much it goes on, in all."""

    cap_usd = forms.DecimalField(
        min_value=Decimal("0.000001"), max_value=Decimal(100_000), max_digits=12, decimal_places=6
    )
