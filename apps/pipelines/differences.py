"""How two versions of a pipeline differ, field by field. Always text, never HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import ForeignKey

from apps.events.differences import Comparison, compare
from apps.events.payload import pretty_json
from apps.pipelines.models import PipelineVersion

NOTHING = "(empty)"


@dataclass(frozen=True)
class FieldDifference:
    """`old` and `new` are the whole values as text; `comparison` has their lines."""

    name: str
    label: str
    old: str
    new: str

    @property
    def is_short(self) -> bool:
        return "\n" not in self.old + self.new and len(self.old + self.new) <= 120

    @property
    def comparison(self) -> Comparison:
        return compare(self.old.encode(), self.new.encode())


def find_differences(old: PipelineVersion, new: PipelineVersion) -> list[FieldDifference]:
    """Fields whose values differ, in the order of the model."""
    return [
        FieldDifference(
            field.name,
            str(field.verbose_name).capitalize(),
            _to_text(old, field),
            _to_text(new, field),
        )
        for field in PipelineVersion.get_config_fields()
        if field.value_from_object(old) != field.value_from_object(new)
    ]


def describe_changes(old: PipelineVersion | None, new: PipelineVersion) -> str:
    """`prompt, model`: for a list of versions."""
    if old is None:
        return "the first version"
    names = [each.label.lower() for each in find_differences(old, new)]
    return ", ".join(names) or "nothing"


def _to_text(version: PipelineVersion, field: Any) -> str:
    value = field.value_from_object(version)
    if value in (None, "", {}, []):
        return NOTHING
    if isinstance(field, ForeignKey):
        found = field.related_model._default_manager.filter(pk=value).first()
        return str(found or f"{field.verbose_name} {value}, which is gone")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, dict | list):
        return pretty_json(value)
    return str(value)
