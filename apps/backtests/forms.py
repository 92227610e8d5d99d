"""The form that starts a backtest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.backtests.estimate import EVENTS, LABELLED, SAMPLES, find_events
from apps.backtests.models import MAX_EVENTS
from apps.pipelines.expressions import WrongExpression, compile_expression
from apps.pipelines.models import Pipeline, Sample


def _path(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text=help_text,
    )


class BacktestForm(forms.Form):
    """What it runs on, for how much, and what is right."""

    count = forms.IntegerField(
        label="Newest events",
        required=False,
        min_value=1,
        max_value=MAX_EVENTS,
        initial=50,
        widget=UnfoldAdminTextInputWidget({"inputmode": "numeric"}),
        help_text=f"How many, up to {MAX_EVENTS}.",
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
        "Label of an event",
        "JMESPath into the payload, where it says what is right: label.team. May be empty.",
    )
    answer_path = _path(
        "Compared with",
        "JMESPath into the answer: category. Empty: the whole answer. A sample needs neither: it "
        "says itself what is expected.",
    )

    def __init__(self, pipeline: Pipeline, data: Any = None) -> None:
        super().__init__(data)
        kept = Sample.find_kept(pipeline).count()
        labelled = Sample.find_kept(pipeline, labelled=True).count()
        choices = [
            (EVENTS, "The newest events"),
            (LABELLED, f"Samples with a label ({labelled})"),
            (SAMPLES, f"All samples ({kept})"),
        ]
        self.fields["on"] = forms.ChoiceField(
            label="Run it on", choices=choices, widget=UnfoldAdminSelectWidget()
        )
        self.order_fields(["on"])
        if kept and not find_events(pipeline, 1):
            self.fields["on"].initial = LABELLED if labelled else SAMPLES

    def clean_count(self) -> int | None:
        count: int | None = self.cleaned_data["count"]
        if count is None and self.cleaned_data.get("on", EVENTS) == EVENTS:
            raise forms.ValidationError("How many of the newest events?")
        return count

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
