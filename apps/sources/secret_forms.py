"""Forms of a source's signing secrets."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.sources.forms import SecretField, explain_secret
from apps.sources.models import Secret
from apps.sources.schemes import SCHEMES, WrongOptions, build_verifier, make_secret


class SecretForm(forms.ModelForm):  # type: ignore[type-arg]
    """One more secret for a source, for a rotation without downtime."""

    value = SecretField(label="Value")
    made_value = ""

    class Meta:
        model = Secret
        fields = ["value"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        explain_secret(self.fields["value"], SCHEMES[self.instance.source.scheme])

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
