"""The part of a pipeline's form that says what the model must not see."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from apps.pipelines.checks import WrongConfig, check_config
from apps.pipelines.redaction.config import read_redaction
from apps.pipelines.redaction.countries import COUNTRIES
from apps.pipelines.redaction.kinds import LABELS

CODE = {"class": "pa-code-input", "spellcheck": "false", "rows": 3}
PARTS = ("kinds", "countries", "paths", "patterns")
FIELDS = [*(f"redact_{part}" for part in PARTS), "redact_reversible"]


class RedactionForm(forms.Form):
    """Five fields that are one object in a version."""

    redact_kinds = forms.MultipleChoiceField(
        label="Mask",
        required=False,
        choices=LABELS.items(),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Found anywhere in what the prompt shows of an event, and replaced by a mark "
        "such as [EMAIL_1] before the model sees it. National ids are social security, tax "
        "and identity numbers. Names of people are not found: give their fields below.",
    )
    redact_countries = forms.CharField(
        label="Phone numbers and ids of",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text=f"Two-letter codes, such as DE, AT. Fewer countries, fewer numbers taken for "
        f"something they are not. Empty: all of {', '.join(COUNTRIES)}. Phone numbers with a "
        "country code are found in any case.",
    )
    redact_paths = forms.CharField(
        label="Fields to mask as a whole",
        required=False,
        widget=UnfoldAdminTextareaWidget(CODE),
        help_text="One path a line into the payload as it arrives, before the transform: "
        "customer.name, contacts[*].address. The same words are masked in other texts, too.",
    )
    redact_patterns = forms.CharField(
        label="Patterns of your own",
        required=False,
        widget=UnfoldAdminTextareaWidget(CODE),
        help_text=r"One a line, NAME = regular expression (RE2), for example ORDER = ORD-\d{6}. "
        "A match becomes [ORDER_1].",
    )
    redact_reversible = forms.BooleanField(
        label="Put the values back into the answer",
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="Where the answer repeats a mark, the event's answer gets the value. The model "
        "has not seen it; the ledger keeps the mark.",
    )

    def set_redaction(self, redaction: dict[str, Any]) -> None:
        """Show what a version says."""
        shown = read_redaction(redaction)
        values = {
            "redact_kinds": list(shown.kinds),
            "redact_countries": ", ".join(shown.countries),
            "redact_paths": "\n".join(shown.paths),
            "redact_patterns": "\n".join(f"{own.name} = {own.pattern}" for own in shown.patterns),
            "redact_reversible": shown.reversible,
        }
        for name, value in values.items():
            self.initial.setdefault(name, value)

    def get_redaction(self) -> dict[str, Any]:
        """As typed, in the form of a version; what is empty is left out."""
        typed = self.cleaned_data
        redaction = {
            "kinds": typed.get("redact_kinds", []),
            "countries": typed.get("redact_countries", "").upper().replace(",", " ").split(),
            "paths": _get_lines(typed.get("redact_paths", "")),
            "patterns": [_read_line(line) for line in _get_lines(typed.get("redact_patterns", ""))],
            "reversible": typed.get("redact_reversible", False),
        }
        return {name: value for name, value in redaction.items() if value}

    def check_redaction(self) -> None:
        """Tell what is wrong at the field where it was typed."""
        redaction = self.get_redaction()
        for part in PARTS:
            try:
                check_config(redaction={part: redaction.get(part, [])})
            except WrongConfig as error:
                self.add_error(f"redact_{part}", error.message)


def _get_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_line(line: str) -> dict[str, str]:
    name, _, pattern = line.partition("=")
    return {"name": name.strip(), "pattern": pattern.strip()}
