"""The forms of a provider and of a model."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.llm.models import Provider, ProviderModel
from apps.llm.pricing import get_default_prices
from apps.llm.provider_checks import (
    WrongProvider,
    check_slug,
    choose_key,
    find_warnings,
    read_base_url,
    test,
)


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """The key is written and never shown; empty keeps the stored one. Valid means tested."""

    base_url = forms.CharField(
        label="Base URL",
        max_length=500,
        widget=UnfoldAdminTextInputWidget({"inputmode": "url", "spellcheck": "false"}),
        help_text="For example https://api.example.com/v1. Private networks must stand in "
        "EGRESS_ALLOW.",
    )
    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=1000,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
    )
    forget_key = forms.BooleanField(
        label="Forget the stored key",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="For a server that wants none.",
    )
    skip_test = forms.BooleanField(
        label="Save although the test fails",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="When it is saved, the provider is asked for its models. That costs nothing.",
    )

    class Meta:
        model = Provider
        fields = ["name", "slug", "base_url", "api_key", "forget_key", "skip_test", "in_background"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.found: list[str] | None = None  # None: not asked, or no answer
        self.failure = ""
        if "api_key" in self.fields:
            self.fields["api_key"].help_text = (
                "One is stored, and is sent to this host only. Type a new one to replace it."
                if self.instance.has_key
                else "Stored encrypted and sent to this host only. Empty: the server wants none."
            )
        if "slug" in self.fields and not self.instance._state.adding:
            self.fields["slug"].disabled = True  # pipelines name it
        if "forget_key" in self.fields and not self.instance.has_key:
            del self.fields["forget_key"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            self._check(cleaned)
        except WrongProvider as error:
            self.add_error(error.field, error.message)
        return cleaned

    def _check(self, cleaned: dict[str, Any]) -> None:
        check_slug(cleaned["slug"])
        base_url = cleaned["base_url"] = read_base_url(cleaned["base_url"])
        typed = cleaned["api_key"] or ("" if cleaned.get("forget_key") else None)
        stored = Provider.objects.filter(pk=self.instance.pk).first()
        key = cleaned["api_key"] = choose_key(stored, base_url, typed)
        try:
            self.found = test(base_url, key)
        except WrongProvider as error:
            if not cleaned["skip_test"]:
                raise
            self.failure = error.message

    @property
    def warnings(self) -> list[str]:
        """What is worth a word although it was saved."""
        found = [f"It is saved, but: {self.failure}"] if self.failure else []
        return found + find_warnings(self.cleaned_data["base_url"], self.cleaned_data["api_key"])

    def save(self, commit: bool = True) -> Any:
        self.instance.set_key(self.cleaned_data["api_key"])
        return super().save(commit)


class ProviderModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A model; an empty price is the default, which is shown in its place."""

    class Meta:
        model = ProviderModel
        fields = [
            *("provider", "name", "input_price", "output_price", "context_tokens"),
            *("requests_per_minute", "tokens_per_minute", "concurrency"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        if "provider" in self.fields:
            choice = cast("forms.ModelChoiceField[Provider]", self.fields["provider"])
            choice.empty_label = "The provider of the settings"
        if row._state.adding:
            return  # which default there is depends on the name
        known = get_default_prices(row.name, row.provider.slug if row.provider else "")
        for name, price in zip(("input_price", "output_price"), known or (), strict=False):
            if name in self.fields:
                self.fields[name].widget.attrs["placeholder"] = f"{price} (default)"
