"""The form of a new pipeline, whose saving publishes its first version; a draft builds on it."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.destinations.models import Destination
from apps.events.payload import pretty_json
from apps.pipelines.approval_form import ApprovalForm
from apps.pipelines.checks import MAX_WAIT_H, WrongConfig, check_config
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.ready import RESERVED_SLUG
from apps.pipelines.redaction_form import RedactionForm
from apps.pipelines.schema_text import WrongSchemaText, read_schema
from apps.pipelines.target_fields import (
    FallbacksField,
    get_fallback_choices,
    get_provider_choices,
)
from apps.pipelines.targets import WrongTarget, check_targets

CONFIG = (
    "filter",
    "transform",
    "prompt",
    "provider",
    "model",
    "fallbacks",
    "output_schema",
    "max_output_tokens",
    "repair",
    "may_wait_h",
    "on_unknown",
    "destination",
)
CODE = {"class": "pa-code-input", "spellcheck": "false", "rows": 4}


class SchemaField(forms.CharField):
    """A JSON Schema, shown indented; an error names its line."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return pretty_json(value) if value else ""
        return value

    def clean(self, value: Any) -> dict[str, Any]:
        try:
            return read_schema(super().clean(value))
        except WrongSchemaText as error:
            raise forms.ValidationError(str(error), params={"line": error.line}) from None


class PipelineNameForm(forms.ModelForm):  # type: ignore[type-arg]
    """What belongs to the pipeline itself: the rest is edited as its draft."""

    class Meta:
        model = Pipeline
        fields: tuple[str, ...] = ("name", "slug")

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug == RESERVED_SLUG and slug != self.instance.slug:
            raise forms.ValidationError(f"“{RESERVED_SLUG}” is the address of ready pipelines.")
        return slug


class PipelineForm(ApprovalForm, RedactionForm, PipelineNameForm):
    """Name and slug belong to the pipeline, all else to its first version."""

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
    provider = forms.ChoiceField(
        required=False,
        choices=get_provider_choices,
        widget=UnfoldAdminSelectWidget(),
        help_text="Where the model is asked.",
    )
    model = forms.CharField(
        required=False,
        max_length=120,
        widget=UnfoldAdminTextInputWidget(),
        help_text="As the provider calls it. Empty: the model of OPENAI_MODEL, where the provider "
        "is that of the settings.",
    )
    fallbacks = FallbacksField(
        label="Models that stand in",
        required=False,
        help_text="Asked in this order, at once, where the one before is down: it can't be "
        "reached, refuses by an error or a rate limit, or its circuit breaker is open. Never after "
        "a call that may have been paid.",
    )
    output_schema = SchemaField(
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
    repair = forms.BooleanField(
        label="Repair an answer that does not fit",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="An answer that is not JSON, or off the schema, is asked for once more with what "
        "is wrong with it. That call is paid, too. Without it the event is a dead letter at once.",
    )
    may_wait_h = forms.IntegerField(
        label="Hours an answer may wait",
        required=False,
        min_value=0,
        max_value=MAX_WAIT_H,
        initial=0,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="0: each call is made at once. Otherwise calls go in batches of the provider, at "
        "a lower price (half, at OpenAI), mostly within a few hours. What a batch does not answer "
        "in time is asked directly, at the full price, so that the answer is there by then.",
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "fallbacks" in self.fields:
            cast(FallbacksField, self.fields["fallbacks"]).set_choices(get_fallback_choices())
        version = self.get_shown_version()
        if version:
            for name in CONFIG:
                self.initial.setdefault(name, version.serializable_value(name))
            self.set_redaction(version.redaction)
            self.set_approval(version.approval)
        elif "destination" in self.fields:
            self._choose_destination()

    def get_shown_version(self) -> PipelineVersion | None:
        """What the form begins with."""
        current: PipelineVersion | None = self.instance.current_version
        return current

    def _choose_destination(self) -> None:
        """The only one there is."""
        first = list(Destination.objects.values_list("pk", flat=True)[:2])
        if len(first) == 1:
            self.initial.setdefault("destination", first[0])

    def get_config(self) -> dict[str, Any]:
        """The fields of a PipelineVersion, as typed."""
        config = {name: self.cleaned_data[name] for name in CONFIG if name in self.cleaned_data}
        for name, value in config.items():
            if isinstance(value, str):  # browsers send CR LF, the API LF: one text is one text
                config[name] = value.replace("\r\n", "\n")
        return config | {"redaction": self.get_redaction(), "approval": self.get_approval()}

    def clean_may_wait_h(self) -> int:
        return self.cleaned_data["may_wait_h"] or 0

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check_redaction()
        self.check_approval()
        for name, value in self.get_config().items():
            if name in ("redaction", "approval"):
                continue  # just checked, part by part
            try:
                check_config(**{name: value})
            except WrongConfig as error:
                self.add_error(error.field, error.message)
        self._check_targets(cleaned)
        return cleaned

    def _check_targets(self, cleaned: dict[str, Any]) -> None:
        names = ("provider", "model", "fallbacks")
        if any(name not in cleaned for name in names):
            return  # one of them is wrong by itself
        try:
            check_targets(*(cleaned[name] for name in names))
        except WrongTarget as error:
            self.add_error(error.field, str(error))
