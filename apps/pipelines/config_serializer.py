"""What a version of a pipeline does, as the API reads and writes it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.relations import SlugRelatedField

from apps.destinations.models import Destination
from apps.llm.provider_models import SETTINGS_SLUG
from apps.pipelines.approval import (
    DEFAULT_TIMEOUT_H,
    MAX_TIMEOUT_H,
    OnTimeout,
    WrongApproval,
    read_approval,
)
from apps.pipelines.checks import MAX_OUTPUT_TOKENS, MAX_WAIT_H, WrongConfig, check_config
from apps.pipelines.models import Pipeline, PipelineDraft, PipelineVersion
from apps.pipelines.redaction.config import WrongRedaction, read_redaction
from apps.pipelines.redaction.countries import COUNTRIES
from apps.pipelines.redaction.kinds import KINDS
from apps.pipelines.targets import (
    MAX_FALLBACKS,
    WrongTarget,
    check_targets,
    read_fallbacks,
    to_json,
)

TEXTS = ("filter", "transform", "provider", "model")
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
    "redaction",
    "approval",
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

APPROVAL_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "every": {"type": "boolean"},
        "number": {"type": "string", "description": "JMESPath into the answer."},
        "below": {"type": "number"},
        "rule": {
            "type": "string",
            "description": "JMESPath over an object with `answer` and `event`, the payload.",
        },
        "timeout_h": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_TIMEOUT_H,
            "default": DEFAULT_TIMEOUT_H,
        },
        "on_timeout": {"enum": list(OnTimeout), "default": OnTimeout.DEAD_LETTER.value},
    },
}
FALLBACKS_SCHEMA = {
    "type": "array",
    "maxItems": MAX_FALLBACKS,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "provider": {"type": ["string", "null"]},
            "model": {"type": "string"},
        },
    },
}


@extend_schema_field(FALLBACKS_SCHEMA)
class FallbacksField(serializers.JSONField):
    """Models that are asked in this order where the one before is down."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return to_json(read_fallbacks(super().to_internal_value(data)))
        except WrongTarget as error:
            raise serializers.ValidationError(str(error)) from None


@extend_schema_field(REDACTION_SCHEMA)
class RedactionField(serializers.JSONField):
    """What is masked before the model sees it; an empty object masks nothing."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_redaction(super().to_internal_value(data)).to_json()
        except WrongRedaction as error:
            raise serializers.ValidationError(str(error)) from None


@extend_schema_field(APPROVAL_SCHEMA)
class ApprovalField(serializers.JSONField):
    """Which answers wait for a person; an empty object holds none."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return read_approval(super().to_internal_value(data)).to_json()
        except WrongApproval as error:
            raise serializers.ValidationError(str(error)) from None


class ConfigSerializer(serializers.ModelSerializer[PipelineVersion]):
    """What a version does."""

    filter = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    transform = serializers.CharField(required=False, allow_blank=True, allow_null=True)
    prompt = serializers.CharField(trim_whitespace=False)
    provider = serializers.CharField(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=60,
        help_text="Slug; empty or “settings” is the provider of the settings.",
    )
    model = serializers.CharField(required=False, allow_blank=True, allow_null=True, max_length=120)
    fallbacks = FallbacksField(required=False)
    output_schema = serializers.JSONField(required=False, allow_null=True)
    max_output_tokens = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_OUTPUT_TOKENS
    )
    redaction = RedactionField(required=False)
    approval = ApprovalField(required=False)
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
        if attrs.get("provider") == SETTINGS_SLUG:
            attrs["provider"] = ""
        try:
            self._check_targets(attrs)
            check_config(**{name: attrs[name] for name in CONFIG if name in attrs})
        except WrongTarget as error:
            raise serializers.ValidationError({error.field: str(error)}) from None
        except WrongConfig as error:
            raise serializers.ValidationError({error.field: error.message}) from None
        return attrs

    def _check_targets(self, attrs: dict[str, Any]) -> None:
        """With what stays as it is, where the change says something of it."""
        if not attrs.keys() & {"provider", "model", "fallbacks"}:
            return
        before = get_version_before(self.instance)
        check_targets(
            attrs.get("provider", before.provider),
            attrs.get("model", before.model),
            attrs.get("fallbacks", before.fallbacks),
        )


def get_version_before(instance: Any) -> PipelineVersion:
    """What a change goes on from; nothing is said yet in an empty one."""
    if isinstance(instance, PipelineDraft):
        return instance.get_version()
    current = instance.current_version if isinstance(instance, Pipeline) else None
    return current or PipelineVersion()


class VersionSerializer(ConfigSerializer):
    """A version as it was published; it never changes."""

    created_by = SlugRelatedField[Any](slug_field="username", read_only=True, allow_null=True)

    class Meta(ConfigSerializer.Meta):
        fields = ("number", *CONFIG, "note", "created_by", "created_at")
        read_only_fields = fields
