"""Pipelines and their versions in the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.configuration import ConfigurationViewSet
from apps.api.permissions import Needs
from apps.api.serializers import SlugOnceMixin, StrictSerializer
from apps.pipelines.config_serializer import CONFIG, ConfigSerializer, VersionSerializer
from apps.pipelines.draft_api import DraftActions
from apps.pipelines.models import Pipeline
from apps.pipelines.ready_api import ReadyActions, refuse_reserved_slug
from apps.pipelines.sample_api import SampleActions


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
        if self.instance is None:
            refuse_reserved_slug(slug)
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


class PipelineViewSet(ReadyActions, DraftActions, SampleActions, ConfigurationViewSet):
    """Pipelines: filter, transform, prompt, model, output schema, destination."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "pipelines.view_pipeline"),
        "retrieve": Needs("config:read", "pipelines.view_pipeline"),
        "versions": Needs("config:read", "pipelines.view_pipelineversion"),
        "draft": Needs("config:read", "pipelines.view_pipelineversion"),
        "diff": Needs("config:read", "pipelines.view_pipelineversion"),
        "save_draft": Needs("config:write", "pipelines.change_pipeline"),
        "discard_draft": Needs("config:write", "pipelines.change_pipeline"),
        "dry_run": Needs("config:write", "pipelines.change_pipeline"),
        "publish": Needs("config:write", "pipelines.change_pipeline"),
        "rollback": Needs("config:write", "pipelines.change_pipeline"),
        "samples": Needs("config:read", "pipelines.change_pipeline"),
        "keep_sample": Needs("config:write", "pipelines.change_pipeline"),
        "remove_sample": Needs("config:write", "pipelines.change_pipeline"),
        "ready": Needs("config:read", "pipelines.view_pipeline"),
        "start": Needs("config:write", "pipelines.add_pipeline"),
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
