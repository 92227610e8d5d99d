"""A pipeline's samples in the API: listed with their bodies, kept, removed."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs, check_access
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.pipelines.models import Pipeline, Sample
from apps.pipelines.sample_models import NAME_MAX_CHARS, SampleRefused
from apps.pipelines.samples import pin_event

READS_BODIES = Needs("events:read", "events.view_eventbody")


def dump(body: Any) -> bytes:
    """The JSON of a request as the bytes of a sample."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


class SampleSerializer(serializers.Serializer[Any]):
    """A payload to try drafts on; `expected` is what the answer should say, if anybody knows."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField()
    origin = serializers.ChoiceField(Sample.Origin.choices)
    body = serializers.CharField(source="shown_body", help_text="As text, whatever it is.")
    expected = serializers.JSONField(allow_null=True)
    created_at = serializers.DateTimeField()


class KeepSampleSerializer(StrictSerializer):
    """One of `body` (JSON of your own) and `event` (a copy, kept longer than the event)."""

    name = serializers.CharField(required=False, max_length=NAME_MAX_CHARS)
    body = serializers.JSONField(required=False)
    event = serializers.CharField(required=False, max_length=60)
    expected = serializers.JSONField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("body" in attrs) == ("event" in attrs):
            raise ValidationError({"body": "Give either a body or an event."})
        return attrs


class SampleActions(ApiViewSet):
    """What the viewset of pipelines does with samples."""

    @extend_schema(responses=SampleSerializer(many=True))
    @action(
        detail=True, methods=["get"], pagination_class=None, serializer_class=KeepSampleSerializer
    )
    def samples(self, request: Request, slug: str) -> Response:
        """Those that are kept, a hundred at most."""
        check_access(request, READS_BODIES)
        found = list(Sample.find_kept(self.get_object()))
        return Response(SampleSerializer(found, many=True).data)

    @extend_schema(request=KeepSampleSerializer, responses={201: SampleSerializer})
    @samples.mapping.post
    def keep_sample(self, request: Request, slug: str) -> Response:
        """Keep one more; a body that is a sample already stays the same one."""
        check_access(request, READS_BODIES)
        pipeline: Pipeline = self.get_object()
        asked: dict[str, Any] = self.get_valid().validated_data
        try:
            with transaction.atomic():
                sample = self._keep(pipeline, asked)
                self.record("sample.add", pipeline, sample=sample.public_id)
        except SampleRefused as refused:
            raise Conflict(str(refused), code=refused.code) from None
        return Response(SampleSerializer(sample).data, status=status.HTTP_201_CREATED)

    def _keep(self, pipeline: Pipeline, asked: dict[str, Any]) -> Sample:
        said = {name: asked[name] for name in ("name", "expected") if name in asked}
        if "event" in asked:
            return pin_event(pipeline, self.user, asked["event"], **said)
        return Sample.keep(
            pipeline, self.user, dump(asked["body"]), origin=Sample.Origin.OWN, **said
        )

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["delete"], url_path="samples/(?P<sample>smp_[0-9a-f]{32})")
    def remove_sample(self, request: Request, slug: str, sample: str) -> Response:
        """Remove one: its body is deleted, what was paid for it stays on record."""
        check_access(request, READS_BODIES)
        pipeline: Pipeline = self.get_object()
        found = Sample.find(pipeline, sample)
        with transaction.atomic():
            if found is None or not found.remove():
                raise NotFound("There is no such sample in this pipeline.")
            self.record("sample.remove", pipeline, sample=sample)
        return Response(status=status.HTTP_204_NO_CONTENT)
