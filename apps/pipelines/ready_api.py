"""Ready pipelines in the API: what there is, and one of one's own started from it."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import UniqueValidator

from apps.api.configuration import refuse_taken_slug
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.destinations.models import Destination
from apps.pipelines.config_serializer import VersionSerializer
from apps.pipelines.models import Pipeline
from apps.pipelines.ready import RESERVED_SLUG, ReadyPipeline, get_ready_pipelines

TAKEN = UniqueValidator(Pipeline.objects.all(), message="There is a pipeline with this slug.")


def refuse_reserved_slug(slug: str) -> None:
    """A pipeline of this slug would have no address in the API."""
    if slug == RESERVED_SLUG:
        raise serializers.ValidationError(f"“{RESERVED_SLUG}” is the address of ready pipelines.")


class ReadyLabelSerializer(serializers.Serializer[Any]):
    """What is known about one payload."""

    payload = serializers.JSONField()
    expected = serializers.JSONField(help_text="What the answer should say: some of its fields.")


class ReadyConfigSerializer(serializers.Serializer[Any]):
    """What its first version will do."""

    filter = serializers.CharField()
    transform = serializers.CharField()
    prompt = serializers.CharField()
    max_output_tokens = serializers.IntegerField()
    output_schema = serializers.JSONField()
    redaction = serializers.JSONField()


class ReadyPipelineSerializer(serializers.Serializer[Any]):
    """A pipeline to start from; `answer` is a good one to the first of `samples`."""

    slug = serializers.CharField()
    name = serializers.CharField()
    purpose = serializers.CharField()
    model_hint = serializers.CharField()
    config = ReadyConfigSerializer()
    samples = serializers.ListField(child=serializers.JSONField(), help_text="Payloads.")
    answer = serializers.JSONField()
    labelled = ReadyLabelSerializer(many=True)


class StartReadySerializer(StrictSerializer):
    """The pipeline that is made."""

    slug = serializers.SlugField(max_length=60, validators=[TAKEN, refuse_reserved_slug])
    name = serializers.CharField(max_length=120)
    destination = SlugRelatedField(slug_field="slug", queryset=Destination.objects.all())


class StartedPipelineSerializer(serializers.Serializer[Any]):
    """The new pipeline, with its first version."""

    slug = serializers.CharField()
    name = serializers.CharField()
    version = VersionSerializer(source="current_version")


class ReadyActions(ApiViewSet):
    """What the viewset of pipelines does with ready ones."""

    @extend_schema(responses=ReadyPipelineSerializer(many=True))
    @action(
        detail=False,
        methods=["get"],
        pagination_class=None,
        serializer_class=ReadyPipelineSerializer,
    )
    def ready(self, request: Request) -> Response:
        """Pipelines to start from, with sample events and a few labels."""
        found = list(get_ready_pipelines().values())
        return Response(self.get_serializer(found, many=True).data)

    @extend_schema(request=StartReadySerializer, responses={201: StartedPipelineSerializer})
    @action(
        detail=False,
        methods=["post"],
        url_path="ready/(?P<slug>[-a-zA-Z0-9_]+)",
        serializer_class=StartReadySerializer,
    )
    def start(self, request: Request, slug: str) -> Response:
        """A pipeline of one's own: its first version does what the ready one does."""
        ready = find_ready(slug)
        asked: dict[str, Any] = self.get_valid().validated_data
        with transaction.atomic(), refuse_taken_slug():
            pipeline = ready.start(self.user, **asked)
            self.record("pipeline.create", pipeline, ready=ready.slug)
        return Response(StartedPipelineSerializer(pipeline).data, status=status.HTTP_201_CREATED)


def find_ready(slug: str) -> ReadyPipeline:
    """Raises NotFound."""
    found = get_ready_pipelines().get(slug)
    if found is None:
        raise NotFound("There is no such ready pipeline.")
    return found
