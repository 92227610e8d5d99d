"""The form of a destination."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget

from apps.destinations.checks import WrongDestination, check_destination
from apps.destinations.models import Destination
from apps.sources.schemes import make_secret


class DestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """The secret is written and never shown; empty keeps the stored one, or makes a first one."""

    secret = forms.CharField(
        label="Signing secret",
        required=False,
        max_length=500,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
    )

    url = forms.URLField(
        label="URL",
        required=False,
        max_length=2000,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget,
        help_text="For an HTTP endpoint. Private networks must stand in EGRESS_ALLOW.",
    )

    class Meta:
        model = Destination
        fields = ["name", "slug", "kind", "url", "secret"]
        help_texts = {
            "kind": "The inbox shows results on a page here; an HTTP endpoint gets a signed POST.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.pop("secret", None)
        self.made_secret = ""
        if "secret" in self.fields:
            self.fields["secret"].help_text = "Signs each delivery (Standard Webhooks). " + (
                "One is stored: type a new one to replace it."
                if self.instance.secret
                else "Starts with whsec_. Leave it empty to have one made; it is shown once."
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        typed = cleaned.get("secret") or ""
        if cleaned.get("kind") == Destination.Kind.HTTP and not typed and not self._stored():
            typed = self.made_secret = make_secret("standard-webhooks")
        cleaned["secret"] = typed or self._stored()
        try:
            check_destination(
                kind=cleaned.get("kind", ""), url=cleaned.get("url") or "", secret=cleaned["secret"]
            )
        except WrongDestination as error:
            if error.field not in self.errors:
                self.add_error(error.field, error.message)
        return cleaned

    def _stored(self) -> str:
        """The secret in the database: the instance's may be overwritten by this form."""
        rows = Destination.objects.filter(pk=self.instance.pk).values_list("secret", flat=True)
        return rows.first() or ""
