"""The draft of a pipeline in the API: read, saved, published, rolled back, compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import check_access
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.events.models import Event
from apps.events.route_serializer import RouteSerializer
from apps.llm.models import Subject
from apps.pipelines.config_serializer import CONFIG, ConfigSerializer, VersionSerializer
from apps.pipelines.differences import find_differences
from apps.pipelines.dry_run import DryRun, run_dry
from apps.pipelines.models import (
    NOTE_MAX_CHARS,
    DraftConflict,
    DraftUnusable,
    Pipeline,
    PipelineVersion,
    Sample,
)
from apps.pipelines.sample_api import READS_BODIES, dump
from apps.pipelines.sample_models import SampleRefused
from apps.pipelines.samples import choose

DRAFT = "draft"


class DraftSerializer(StrictSerializer, ConfigSerializer):
    """The draft; `token` is that of its last change. What a change leaves out stays as it is.

    Without a draft: what the current version does, and a token to begin one with.
    """

    token = serializers.CharField(
        max_length=32, help_text="As it was read: another one means that somebody was faster."
    )
    based_on = serializers.IntegerField(read_only=True, allow_null=True)
    edited_by = serializers.CharField(read_only=True, allow_null=True)
    edited_at = serializers.DateTimeField(read_only=True, allow_null=True)

    class Meta(ConfigSerializer.Meta):
        fields = ("token", *CONFIG, "based_on", "edited_by", "edited_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "token" not in attrs:
            raise serializers.ValidationError({"token": "Give the token of the draft as you read."})
        return super().validate(attrs)

    def to_representation(self, draft: Any) -> dict[str, Any]:
        about = {
            "based_on": draft.based_on.number if draft.based_on else None,
            "edited_by": draft.edited_by.get_username() if draft.edited_by else None,
            "edited_at": draft.edited_at if draft.is_saved else None,
        }
        return {"token": draft.token} | ConfigSerializer(draft.get_version()).data | about

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        token = validated_data.pop("token")
        version = instance.get_version()
        for name, value in validated_data.items():
            setattr(version, name, value)
        user = self.context["request"].user
        return instance.pipeline.save_draft(user, token, version.get_config())


class DraftTokenSerializer(StrictSerializer):
    token = serializers.CharField(max_length=32)


class PublishSerializer(DraftTokenSerializer):
    """`replaces` is the version that you have compared it with: the one it began with, if empty."""

    replaces = serializers.IntegerField(required=False, min_value=1)
    note = serializers.CharField(required=False, allow_blank=True, max_length=NOTE_MAX_CHARS)


class RollbackSerializer(StrictSerializer):
    """`replaces` is the version that you mean to replace: whichever is current, if empty."""

    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1)
    replaces = serializers.IntegerField(required=False, min_value=1)
    note = serializers.CharField(required=False, allow_blank=True, max_length=NOTE_MAX_CHARS)


class DryRunRequestSerializer(DraftTokenSerializer):
    """One of `event`, `sample` and `body` says what it is run on."""

    event = serializers.CharField(
        required=False, max_length=60, help_text="An event of this pipeline: evt_…."
    )
    sample = serializers.CharField(
        required=False, max_length=60, help_text="A sample of this pipeline: smp_…."
    )
    body = serializers.JSONField(required=False, help_text="A payload of your own.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum(name in attrs for name in ("event", "sample", "body")) != 1:
            raise serializers.ValidationError({"event": "Give one of event, sample and body."})
        return attrs


class DryRunSerializer(serializers.Serializer[Any]):
    """`answer` is what would be delivered; where there is none, `problem` says why."""

    answer = serializers.JSONField(allow_null=True)
    current_answer = serializers.JSONField(allow_null=True)
    expected = serializers.JSONField(allow_null=True, help_text="Of a sample with a label.")
    is_right = serializers.BooleanField(
        allow_null=True, help_text="Whether the answer says what is expected."
    )
    problem = serializers.CharField(allow_blank=True)
    held = serializers.CharField(
        allow_blank=True, help_text="Why the answer would wait for approval; a dry run holds none."
    )
    cost_usd = serializers.DecimalField(max_digits=12, decimal_places=6)
    latency_s = serializers.FloatField()
    reused = serializers.BooleanField(help_text="Answered before: nothing was paid.")
    route = RouteSerializer(allow_null=True, help_text="Null where no model answered.")


class CompareSerializer(serializers.Serializer[Any]):
    """Two of a pipeline's versions by their numbers; `to` may be `draft`."""

    to = serializers.RegexField(rf"^(\d{{1,9}}|{DRAFT})$")

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.RegexField(r"^\d{1,9}$"), **super().get_fields()}


class DifferenceLineSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(["added", "removed", "same", "gap"])
    text = serializers.CharField()


class DifferenceSerializer(serializers.Serializer[Any]):
    """A field that differs; `lines` are empty where the texts are too long to be compared."""

    field = serializers.CharField(source="name")
    old = serializers.CharField()
    new = serializers.CharField()
    lines = DifferenceLineSerializer(many=True, source="comparison.lines")


class DraftActions(ApiViewSet):
    """What the viewset of pipelines does with drafts and versions."""

    @extend_schema(responses=DraftSerializer)
    @action(detail=True, methods=["get"], serializer_class=DraftSerializer)
    def draft(self, request: Request, slug: str) -> Response:
        """The draft, or what one would begin with."""
        return Response(self.get_serializer(self._get_pipeline().get_draft()).data)

    @extend_schema(request=DraftSerializer(partial=True), responses=DraftSerializer)
    @draft.mapping.patch
    def save_draft(self, request: Request, slug: str) -> Response:
        """Change the draft. Nothing is published."""
        pipeline = self._get_pipeline()
        serializer = self.get_valid(pipeline.get_draft(), partial=True)
        with translating(), transaction.atomic():
            draft = serializer.save()
            fields = sorted(name for name in serializer.validated_data if name != "token")
            self.record("draft.save", pipeline, fields=fields)
        return Response(self.get_serializer(draft).data)

    @extend_schema(parameters=[DraftTokenSerializer], request=None, responses={204: None})
    @draft.mapping.delete
    def discard_draft(self, request: Request, slug: str) -> Response:
        """Give the draft up: the one that has this token."""
        pipeline = self._get_pipeline()
        token = self.get_valid_query(DraftTokenSerializer)["token"]
        with translating(), transaction.atomic():
            pipeline.discard_draft(token)
            self.record("draft.discard", pipeline)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=PublishSerializer, responses={201: VersionSerializer})
    @action(detail=True, methods=["post"], serializer_class=PublishSerializer)
    def publish(self, request: Request, slug: str) -> Response:
        """Make the draft the version that new events start with."""
        pipeline = self._get_pipeline()
        asked: dict[str, Any] = self.get_valid().validated_data
        begun_with = pipeline.get_draft().based_on
        replaces = asked.get("replaces", begun_with.number if begun_with else None)
        with translating(), transaction.atomic():
            version = pipeline.publish_draft(
                self.user, asked["token"], replaces=replaces, note=asked.get("note", "")
            )
            self.record("pipeline.publish", pipeline, version=version.number, replaces=replaces)
        return Response(VersionSerializer(version).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=RollbackSerializer, responses={201: VersionSerializer})
    @action(detail=True, methods=["post"], serializer_class=RollbackSerializer)
    def rollback(self, request: Request, slug: str) -> Response:
        """Publish an older version's content as a new version."""
        pipeline = self._get_pipeline()
        asked: dict[str, Any] = self.get_valid().validated_data
        current = pipeline.current_version
        replaces = asked.get("replaces", current.number if current else None)
        with translating(), transaction.atomic():
            version = pipeline.roll_back(
                self.user, asked["version"], replaces=replaces, note=asked.get("note", "")
            )
            self.record(
                "pipeline.rollback",
                pipeline,
                version=version.number,
                replaces=replaces,
                rolled_back_to=asked["version"],
            )
        return Response(VersionSerializer(version).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=DryRunRequestSerializer, responses=DryRunSerializer)
    @action(
        detail=True,
        methods=["post"],
        url_path="dry-run",
        serializer_class=DryRunRequestSerializer,
    )
    def dry_run(self, request: Request, slug: str) -> Response:
        """Ask the model for one event or sample, as the draft would.

        One paid call, nothing delivered; the same request is not paid again.
        """
        check_access(request, READS_BODIES)
        pipeline = self._get_pipeline()
        asked: dict[str, Any] = self.get_valid().validated_data
        draft = pipeline.get_draft()
        if draft.token != asked["token"]:
            raise Conflict(draft.describe_conflict(), code=DraftConflict.code)
        subject = self._find_subject(pipeline, asked)
        run = run_dry(subject, draft.get_version())
        shown = DryRunSerializer(show_run(subject, run)).data
        tried = {"sample" if isinstance(subject, Sample) else "event": subject.public_id}
        self.record("draft.dry_run", pipeline, **tried, usd=shown["cost_usd"])
        return Response(shown)

    def _find_subject(self, pipeline: Pipeline, asked: dict[str, Any]) -> Subject:
        if "body" in asked:
            try:
                return Sample.use_once(pipeline, self.user, dump(asked["body"]))
            except SampleRefused as refused:
                raise serializers.ValidationError({"body": str(refused)}) from None
        kind = "event" if "event" in asked else "sample"
        chosen = choose(pipeline, asked[kind]).chosen
        is_found = chosen is not None and chosen.public_id == asked[kind]
        if chosen is None or not is_found or isinstance(chosen, Sample) != (kind == "sample"):
            raise NotFound(f"There is no such {kind} with its body in this pipeline.")
        return chosen

    @extend_schema(parameters=[CompareSerializer], responses=DifferenceSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def diff(self, request: Request, slug: str) -> Response:
        """How two versions differ, field by field, as text."""
        pipeline = self._get_pipeline()
        asked = self.get_valid_query(CompareSerializer)
        old, new = (find_version(pipeline, asked[name]) for name in ("from", "to"))
        return Response(DifferenceSerializer(find_differences(old, new), many=True).data)

    def _get_pipeline(self) -> Pipeline:
        pipeline: Pipeline = self.get_object()
        return pipeline


def show_run(subject: Subject, run: DryRun) -> dict[str, Any]:
    """What DryRunSerializer takes."""
    trial = run.trial
    return {
        "answer": trial.answer if trial else None,
        "current_answer": subject.answer if isinstance(subject, Event) else None,
        "expected": run.expected,
        "is_right": run.is_right,
        "problem": trial.problem if trial else run.sentence,
        "held": run.held,
        "cost_usd": trial.cost_usd if trial else Decimal(0),
        "latency_s": trial.latency_s if trial else 0.0,
        "reused": trial.is_reused if trial else False,
        "route": trial.route if trial else None,
    }


def find_version(pipeline: Pipeline, name: str) -> PipelineVersion:
    """By its number, or the draft as a version. Raises NotFound."""
    if name == DRAFT:
        return pipeline.get_draft().get_version()
    version = pipeline.versions.filter(number=int(name)).first()
    if version is None:
        raise NotFound(f"There is no version {name}.")
    return version


@contextmanager
def translating() -> Iterator[None]:
    """The model's refusals as problems."""
    try:
        yield
    except (DraftConflict, DraftUnusable) as error:
        raise Conflict(str(error), code=error.code) from None
    except PipelineVersion.DoesNotExist:
        raise NotFound("There is no such version.") from None
