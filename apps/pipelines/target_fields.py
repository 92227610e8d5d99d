"""Form fields for which provider is asked, and which models stand in."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from apps.llm.provider_models import SETTINGS_SLUG, Provider
from apps.pipelines.targets import MAX_FALLBACKS, Target, find_choices, to_json

Choices = list[tuple[str, str]]
ORDINALS = ("First", "Second", "Third")


def get_provider_choices() -> Choices:
    rows = Provider.objects.values_list("slug", "name")
    return [("", "The provider of the settings"), *rows]


def to_key(target: Target) -> str:
    """`backup/org/model`: a slug has no slash, a model's name may have."""
    return f"{target.provider or SETTINGS_SLUG}/{target.model}"


def get_fallback_choices() -> Choices:
    return [("", "None"), *((to_key(target), str(target)) for target in find_choices())]


class FallbacksWidget(forms.MultiWidget):
    """A select for each place in the order."""

    def __init__(self) -> None:
        super().__init__(
            [UnfoldAdminSelectWidget({"aria-label": f"{each} stand-in"}) for each in ORDINALS]
        )

    choices: Choices = []

    def set_choices(self, choices: Choices) -> None:
        self.choices = choices
        for widget in self.widgets:
            cast(forms.Select, widget).choices = choices

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """A stored list is of objects; what was posted is one of keys, which Django takes as is."""
        is_posted = isinstance(value, list) and not any(isinstance(each, dict) for each in value)
        return super().get_context(name, value if is_posted else self.decompress(value), attrs)

    def decompress(self, value: Any) -> list[str]:
        chosen = [to_key(Target(each["provider"], each["model"])) for each in value or ()]
        # A choice that is gone stays shown, so that saving does not drop it unsaid.
        for key in chosen:
            if key not in dict(self.choices):
                self.set_choices([*self.choices, (key, f"{key} (not listed any more)")])
        return (chosen + [""] * MAX_FALLBACKS)[:MAX_FALLBACKS]


class FallbacksField(forms.MultiValueField):
    """A list of `{"provider": …, "model": …}`."""

    widget = FallbacksWidget

    def __init__(self, **kwargs: Any) -> None:
        fields = [forms.CharField(required=False) for _ in ORDINALS]
        super().__init__(fields, require_all_fields=False, **kwargs)

    def set_choices(self, choices: Choices) -> None:
        cast(FallbacksWidget, self.widget).set_choices(choices)

    def compress(self, data_list: Any) -> list[dict[str, str]]:
        chosen = [key.partition("/") for key in data_list or () if key]
        return to_json(
            Target("" if slug == SETTINGS_SLUG else slug, model) for slug, _, model in chosen
        )
