"""Pipelines and their versions in the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.configuration import ConfigurationViewSet
from apps.api.permissions import Needs
from apps.api.serializers import SlugOnceMixin, StrictSerializer
from apps.destinations.models import Destination
from apps.pipelines.checks import MAX_OUTPUT_TOKENS, WrongConfig, check_config
from apps.pipelines.models import Pipeline, PipelineVersion
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
        fields = ("number", *CONFIG, "created_by", "created_at")
        read_only_fields = fields


class PipelineSerializer(SlugOnceMixin, StrictSerializer, ConfigSerializer):
    """A pipeline with the configuration of its current version.

    A change of the configuration publishes a new version; events keep the one they began with.
    """

    slug = serializers.SlugField(max_length=60)
    name = serializers.CharField(max_length=120)
    version = serializers.IntegerField(source="current_version.number", read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    class Meta(ConfigSerializer.Meta):
        fields = ("slug", "name", "version", *CONFIG, "created_at", "updated_at")

    def validate_slug(self, slug: str) -> str:
        if self.instance is None and Pipeline.objects.filter(slug=slug).exists():
            raise serializers.ValidationError("There is a pipeline with this slug.")
        return super().validate_slug(slug)

    def to_representation(self, pipeline: Any) -> dict[str, Any]:
        version = pipeline.current_version
        own = {"slug": pipeline.slug, "name": pipeline.name, "version": version and version.number}
        config = ConfigSerializer(version).data if version else dict.fromkeys(CONFIG)
        times = ("created_at", "updated_at")
        return own | config | {name: getattr(pipeline, name) for name in times}

    def create(self, validated_data: dict[str, Any]) -> Any:
        own = {name: validated_data.pop(name) for name in ("slug", "name")}
        pipeline = Pipeline.objects.create(**own)
        pipeline.publish(self.context["request"].user, **validated_data)
        return pipeline

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        validated_data.pop("slug", None)
        name = validated_data.pop("name", None)
        with transaction.atomic():
            # What is kept is read behind the lock, or else two changes at once lose one.
            pipeline = Pipeline.objects.select_for_update().get(pk=instance.pk)
            if name:
                pipeline.name = name
                pipeline.save(update_fields=["name", "updated_at"])
            if validated_data:
                before = pipeline.current_version
                kept = {each: getattr(before, each) for each in CONFIG} if before else {}
                pipeline.publish(self.context["request"].user, **kept | validated_data)
        return pipeline


class PipelineViewSet(ConfigurationViewSet):
    """Pipelines: filter, transform, prompt, model, output schema, destination."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "pipelines.view_pipeline"),
        "retrieve": Needs("config:read", "pipelines.view_pipeline"),
        "versions": Needs("config:read", "pipelines.view_pipelineversion"),
        "create": Needs("config:write", "pipelines.add_pipeline"),
        "partial_update": Needs("config:write", "pipelines.change_pipeline"),
        "destroy": Needs("config:write", "pipelines.delete_pipeline"),
    }
    serializer_class = PipelineSerializer
    queryset = Pipeline.objects.select_related("current_version__destination")

    @extend_schema(responses=VersionSerializer(many=True))
    @action(detail=True, methods=["get"])
    def versions(self, request: Request, slug: str) -> Response:
        """All versions, newest first."""
        pipeline: Pipeline = self.get_object()
        versions = pipeline.versions.select_related("destination", "created_by")
        page = self.paginate_queryset(versions)
        return self.get_paginated_response(VersionSerializer(page, many=True).data)
