"""The form of a pipeline's draft."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms

from apps.pipelines.approval_form import FIELDS as APPROVAL
from apps.pipelines.forms import PipelineForm
from apps.pipelines.models import Pipeline, PipelineDraft, PipelineVersion
from apps.pipelines.redaction_form import FIELDS as REDACTION

# (name, heading, its fields); what is in none of them comes under the last heading.
GROUPS = (
    ("prompt", "Prompt", ["prompt"]),
    ("events", "Which events, and what of them", ["filter", "transform"]),
    ("model", "Model", ["provider", "model", "fallbacks"]),
    ("answer", "Answer", ["max_output_tokens", "output_schema"]),
    ("approval", "Which answers wait for a person", APPROVAL),
    ("redaction", "What the model must not see", REDACTION),
)
LAST = ("result", "Result")


@dataclass(frozen=True)
class Group:
    """Fields under one heading."""

    name: str
    title: str
    fields: list[forms.BoundField]


class DraftForm(PipelineForm):
    """What the draft says; `token` is that of the draft which the editor has seen."""

    token = forms.CharField(widget=forms.HiddenInput)

    class Meta:
        model = Pipeline
        fields: tuple[str, ...] = ()

    def __init__(self, draft: PipelineDraft, data: Any = None) -> None:
        self.draft = draft
        super().__init__(data, instance=draft.pipeline, initial={"token": draft.token})
        self.fields["prompt"].widget.attrs |= {
            "data-prompt": "",
            "aria-autocomplete": "list",
            "aria-controls": "path-choices",
        }

    def get_shown_version(self) -> PipelineVersion | None:
        return self.draft.get_version() if self.draft.config else None

    def get_version(self) -> PipelineVersion:
        """What was typed, as a version that is not saved; fields not shown stay as they are."""
        version = self.draft.get_version()
        for name, value in self.get_config().items():
            setattr(version, name, value)
        return version

    def get_groups(self) -> Iterator[Group]:
        rest = dict.fromkeys(name for name in self.fields if name != "token")
        for name, title, fields in GROUPS:
            yield Group(name, title, [self[field] for field in fields if field in rest])
            rest = {field: None for field in rest if field not in fields}
        yield Group(*LAST, [self[field] for field in rest])

    @property
    def schema_line(self) -> int | None:
        """The line of the schema's error, where it has one."""
        for error in self.errors.as_data().get("output_schema", []):
            if line := (error.params or {}).get("line"):
                return int(line)
        return None
