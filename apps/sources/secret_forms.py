"""Forms of a source's signing secrets."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.sources.forms import SecretField, explain_secret
from apps.sources.models import Secret
from apps.sources.schemes import SCHEMES, WrongOptions, build_verifier, make_secret

# From now, so that nobody has to think of time zones.
SPANS = {
    "1h": ("in 1 hour", timedelta(hours=1)),
    "24h": ("in 24 hours", timedelta(hours=24)),
    "3d": ("in 3 days", timedelta(days=3)),
    "7d": ("in 7 days", timedelta(days=7)),
    "30d": ("in 30 days", timedelta(days=30)),
}
OVERLAP = "24h"
NEVER = ("", "when somebody retires it")
AS_IT_IS = ("keep", "as it is now")


def make_end_field(**kwargs: Any) -> forms.ChoiceField:
    """When a secret ends: after one of SPANS, or open."""
    choices = [(value, label) for value, (label, _) in SPANS.items()]
    return forms.ChoiceField(
        choices=[*choices, NEVER], required=False, widget=UnfoldAdminSelectWidget(), **kwargs
    )


def get_end(choice: str) -> datetime | None:
    return timezone.now() + SPANS[choice][1] if choice in SPANS else None


class SecretForm(forms.ModelForm):  # type: ignore[type-arg]
    """One more secret for a source; in a rotation also when those before it end."""

    value = SecretField(label="Value")
    others_end = make_end_field(label="The present secret ends", initial=OVERLAP)
    made_value = ""

    class Meta:
        model = Secret
        fields = ["value", "name", "others_end"]
        widgets = {"name": UnfoldAdminTextInputWidget()}
        help_texts = {"name": "To tell it from others: “from GitHub, November”. May stay empty."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        explain_secret(self.fields["value"], SCHEMES[self.instance.source.scheme])
        if not self.instance.source.secrets.active().exists():
            del self.fields["others_end"]

    @property
    def others_end_at(self) -> datetime | None:
        return get_end(self.cleaned_data.get("others_end", ""))

    def clean_value(self) -> str:
        source = self.instance.source
        try:
            value: str = self.cleaned_data["value"]
            if not value:
                value = self.made_value = make_secret(source.scheme, source.options)
            build_verifier(source.scheme, source.options, [value])
        except WrongOptions as error:
            raise forms.ValidationError(error.message) from None
        return value


class SecretChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    """Its name, and when it ends."""

    end = make_end_field(label="It ends", initial=AS_IT_IS[0])

    class Meta:
        model = Secret
        fields = ["name"]
        widgets = {"name": UnfoldAdminTextInputWidget()}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        end = self.fields["end"]
        assert isinstance(end, forms.ChoiceField)
        end.choices = [AS_IT_IS, *end.choices]  # type: ignore[misc]
        if self.instance.state == "retired":
            del self.fields["end"]

    @property
    def changes_end(self) -> bool:
        return bool(self.cleaned_data.get("end", AS_IT_IS[0]) != AS_IT_IS[0])

    @property
    def ends_at(self) -> datetime | None:
        return get_end(self.cleaned_data["end"])
