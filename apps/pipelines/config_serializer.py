"""What a version of a pipeline does, as the API reads and writes it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.relations import SlugRelatedField

from apps.destinations.models import Destination
from apps.pipelines.checks import MAX_OUTPUT_TOKENS, MAX_WAIT_H, WrongConfig, check_config
from apps.pipelines.models import PipelineVersion
from apps.pipelines.redaction.config import WrongRedaction, read_redaction
from apps.pipelines.redaction.countries import COUNTRIES
from apps.pipelines.redaction.kinds import KINDS

TEXTS = ("filter", "transform", "model")
CONFIG = (
    "filter",
    "transform",
    "prompt",
    "model",
    "output_schema",
    "max_output_tokens",
    "repair",
    "redaction",
    "may_wait_h",
    "on_unknown",
    "destination",
)
REDACTION_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "kinds": {"type": "array", "items": {"enum": list(KINDS)}},
        "countries": {"type": "array", "items": {"enum": list(COUNTRIES)}},
        "paths": {"type": "array", "items": {"type": "string"}},
        "patterns": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "pattern": {"type": "string"}},
                "required": ["name", "pattern"],
            },
        },
        "reversible": {"type": "boolean"},
    },
}


@extend_schema_field(REDACTION_SCHEMA)
class RedactionField(serializers.JSONField):
    """What is masked before the model sees it; an empty object masks nothing."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_redaction(super().to_internal_value(data)).to_json()
        except WrongRedaction as error:
            raise serializers.ValidationError(str(error)) from None


class ConfigSerializer(serializers.ModelSerializer[PipelineVersion]):
    """What a version does."""

    filter = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    transform = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    prompt = serializers.CharField(trim_whitespace=False)
    model = serializers.CharField(required=False, allow_blank=True, allow_null=True, max_length=120)
    output_schema = serializers.JSONField(required=False, allow_null=True)
    max_output_tokens = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_OUTPUT_TOKENS
    )
    redaction = RedactionField(required=False)
    may_wait_h = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_WAIT_H,
        help_text="Hours an answer may wait: calls go in batches, at a lower price. 0: at once.",
    )
    destination = SlugRelatedField(slug_field="slug", queryset=Destination.objects.all())

    class Meta:
        model = PipelineVersion
        fields: tuple[str, ...] = CONFIG

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs |= {name: attrs[name] or "" for name in TEXTS if name in attrs}
        if "output_schema" in attrs and attrs["output_schema"] is None:
            attrs["output_schema"] = {}
        try:
            check_config(**{name: attrs[name] for name in CONFIG if name in attrs})
        except WrongConfig as error:
            raise serializers.ValidationError({error.field: error.message}) from None
        return attrs


class VersionSerializer(ConfigSerializer):
    """A version as it was published; it never changes."""

    created_by = SlugRelatedField[Any](slug_field="username", read_only=True, allow_null=True)

    class Meta(ConfigSerializer.Meta):
        fields = ("number", *CONFIG, "note", "created_by", "created_at")
        read_only_fields = fields
