"""Forms of sources, with the first signing secret of a new one."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from apps.sources.models import Source
from apps.sources.rules import Rules, WrongRules
from apps.sources.schemes import (
    SCHEMES,
    OptionField,
    SchemeInfo,
    WrongOptions,
    build_verifier,
    can_make_secret,
    make_secret,
)

OPTION = "option_"
VERIFY_TOKEN = OPTION + "verify_token"
MAX_SECRET_CHARS = 10_000


def make_option_field(option: OptionField) -> forms.Field:
    """The form field of one option of a scheme."""
    common: dict[str, Any] = {
        "label": option.label,
        "help_text": escape(option.help),
        "required": False,
    }
    if option.kind == "choice":
        widget = UnfoldAdminSelectWidget()
        return forms.ChoiceField(choices=option.choices, widget=widget, **common)
    if option.kind == "number":
        return forms.FloatField(min_value=0, widget=UnfoldAdminTextInputWidget(), **common)
    common["strip"] = not option.keeps_spaces
    return forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget(), **common)


class SecretField(forms.CharField):
    """Written and never shown: the browser gets no value back, not even after an error."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
        super().__init__(widget=widget, required=False, max_length=MAX_SECRET_CHARS, **kwargs)


def is_made_here(info: SchemeInfo) -> bool:
    """Whether a secret of our own making is what this provider wants."""
    return info.made_by == "you" and can_make_secret(info.slug)


def explain_secret(field: forms.Field, info: SchemeInfo, is_first: bool = False) -> None:
    """Say where this scheme's secret comes from, and whether it may be left out.

    The first may come later: many providers show it only when they know the URL.
    """
    leave = ""
    if is_made_here(info):
        leave = " Leave it empty to have one made; it is shown once."
    elif is_first and info.made_by == "provider":
        leave = " Not at hand yet? Leave it empty and paste it after saving."
    field.required = not (is_first or is_made_here(info))
    field.help_text = escape(info.secret_help + leave)
    if not info.can_sign:
        field.widget = UnfoldAdminTextareaWidget()  # a public key in several lines


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A source with the options of its scheme as fields `option_<name>`.

    The scheme is chosen before the form and stays: another scheme is another source.
    """

    scheme_slug = ""

    class Meta:
        model = Source
        fields = ["name", "slug", "pipeline", "max_body_bytes"]
        labels = {"slug": "Address", "max_body_bytes": "Largest body, in bytes"}
        help_texts = {"slug": "The end of the webhook's address, behind /hooks/."}
        widgets = {
            "name": UnfoldAdminTextInputWidget(),
            "slug": UnfoldAdminTextInputWidget(),
            "pipeline": UnfoldAdminSelectWidget(),
            "max_body_bytes": UnfoldAdminIntegerFieldWidget(),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.info: SchemeInfo = SCHEMES[self.instance.scheme or self.scheme_slug]
        for option in self.info.fields:
            self.fields[OPTION + option.name] = make_option_field(option)
            stored = self.instance.options.get(option.name, option.default)
            self.initial.setdefault(OPTION + option.name, stored)

    def get_options(self) -> dict[str, Any]:
        """What differs from the scheme's defaults: a better default then reaches old sources."""
        given = {
            field.name: self.cleaned_data.get(OPTION + field.name) for field in self.info.fields
        }
        defaults = self.info.default_options
        return {name: value for name, value in given.items() if value != defaults[name]}

    def get_secret_values(self) -> list[str]:
        return [secret.value for secret in self.instance.get_active_secrets()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not any(name.startswith(OPTION) for name in self.errors):
            self.instance.scheme, self.instance.options = self.info.slug, self.get_options()
            self._check_scheme()
        return cleaned

    def _check_scheme(self) -> None:
        try:
            build_verifier(self.info.slug, self.instance.options, self.get_secret_values())
        except WrongOptions as error:
            name = "secret" if error.field == "secrets" else OPTION + error.field
            self.add_error(name if name in self.fields else None, error.message)
        try:
            Rules.parse(self.instance.rules).check_scheme(self.info.slug, self.instance.options)
        except WrongRules as error:
            self.add_error(None, f"Its rules do not go with these options: {error.message}")


class NewSourceForm(SourceForm):
    """The same, with its first secret."""

    secret = SecretField(label="Signing secret")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autofocus"] = True
        if VERIFY_TOKEN in self.fields:  # any text will do, so nobody need think of one
            self.initial[VERIFY_TOKEN] = secrets.token_hex(12)
        if not self.info.needs_secret:
            del self.fields["secret"]
            return
        explain_secret(self.fields["secret"], self.info, is_first=True)

    def get_secret_values(self) -> list[str]:
        return [value] if (value := self.cleaned_data.get("secret")) else []

    def make_secret(self) -> str:
        """One made up; "" where one was typed, or none of our making is any use."""
        if self.cleaned_data.get("secret") or not is_made_here(self.info):
            return ""
        return make_secret(self.info.slug, self.instance.options)
