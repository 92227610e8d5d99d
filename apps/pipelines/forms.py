"""The form of a pipeline: it edits the configuration, and saving publishes a new version."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from apps.destinations.models import Destination
from apps.events.payload import pretty_json
from apps.pipelines.checks import WrongConfig, check_config
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.redaction_form import RedactionForm

CONFIG = (
    "filter",
    "transform",
    "prompt",
    "model",
    "output_schema",
    "max_output_tokens",
    "on_unknown",
    "destination",
)
CODE = {"class": "pa-code-input", "spellcheck": "false", "rows": 4}


class PrettyJSONField(forms.JSONField):
    """JSON that is shown indented."""

    def prepare_value(self, value: Any) -> Any:
        shown = super().prepare_value(value)
        return pretty_json(shown) or shown


class PipelineForm(RedactionForm, forms.ModelForm):  # type: ignore[type-arg]
    """Name and slug belong to the pipeline, all else to its next version."""

    filter = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({**CODE, "rows": 2}),
        help_text="JMESPath over the payload, for example type == 'ticket'. "
        "Empty: every event goes on.",
    )
    transform = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget({**CODE, "rows": 2}),
        help_text="JMESPath that shapes the payload for the prompt, for example {text: body.text}. "
        "Empty: the payload as it is.",
    )
    prompt = forms.CharField(
        strip=False,
        widget=UnfoldAdminTextareaWidget({**CODE, "rows": 10}),
        help_text="{{ path }} is replaced by what stands there in the transformed payload.",
    )
    model = forms.CharField(
        required=False,
        max_length=120,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: the model of OPENAI_MODEL.",
    )
    output_schema = PrettyJSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget({**CODE, "rows": 10}),
        help_text="JSON Schema that the answer must fit; an answer that doesn't is not delivered.",
    )
    max_output_tokens = forms.IntegerField(
        min_value=1,
        initial=500,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Longest answer: a limit of its cost, too.",
    )
    on_unknown = forms.ChoiceField(
        label="When nobody knows whether a call was paid",
        choices=PipelineVersion.OnUnknown.choices,
        initial=PipelineVersion.OnUnknown.HOLD,
        widget=UnfoldAdminSelectWidget(),
    )
    destination = forms.ModelChoiceField(
        queryset=Destination.objects.all(),
        widget=UnfoldAdminSelectWidget(),
        help_text="Where the checked answer goes.",
    )

    class Meta:
        model = Pipeline
        fields = ["name", "slug"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.instance.current_version
        if version:
            for name in CONFIG:
                self.initial.setdefault(name, getattr(version, name))
            self.set_redaction(version.redaction)
        elif "destination" in self.fields:
            self._choose_destination()

    def _choose_destination(self) -> None:
        """The only one there is."""
        first = list(Destination.objects.values_list("pk", flat=True)[:2])
        if len(first) == 1:
            self.initial.setdefault("destination", first[0])

    def get_config(self) -> dict[str, Any]:
        """The fields of a PipelineVersion, as typed."""
        config = {name: self.cleaned_data[name] for name in CONFIG if name in self.cleaned_data}
        if "output_schema" in config:
            config["output_schema"] = config["output_schema"] or {}
        return config | {"redaction": self.get_redaction()}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check_redaction()
        for name, value in self.get_config().items():
            if name == "redaction":
                continue  # just checked, part by part
            try:
                check_config(**{name: value})
            except WrongConfig as error:
                self.add_error(error.field, error.message)
        return cleaned

    def has_new_config(self) -> bool:
        """Whether saving makes a version: a new name alone doesn't."""
        version = self.instance.current_version
        return version is None or any(
            getattr(version, name) != value for name, value in self.get_config().items()
        )
