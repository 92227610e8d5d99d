"""Sources in the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.configuration import ConfigurationViewSet
from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import SlugOnceMixin, StrictSerializer
from apps.ingest.rehearsal import rehearse
from apps.pipelines.models import Pipeline
from apps.sources.loopback import Outcome, send_test_event
from apps.sources.models import Secret, Source, SourceInUse
from apps.sources.rehearsal_api import RehearsalRequestSerializer, RehearsalSerializer
from apps.sources.rules import Rules, compare
from apps.sources.rules_field import RulesField, check_rules
from apps.sources.schemes import WrongOptions, build_verifier

MAX_SECRET_CHARS = 10_000  # a public key can be long
MAX_BODY_BYTES = 100 * 1024 * 1024


def check_scheme(scheme: str, options: Any, values: list[str], field: str = "secrets") -> None:
    """Raises ValidationError where ingest could not verify with this; `field` holds the secrets."""
    if not isinstance(options, dict):
        raise serializers.ValidationError({"options": "It must be an object."})
    try:
        build_verifier(scheme, options, values)
    except WrongOptions as error:
        own = {"scheme": "scheme", "secrets": field}
        name = own.get(error.field, f"options.{error.field}")
        raise serializers.ValidationError({name: error.message}) from None


class SourceSerializer(SlugOnceMixin, StrictSerializer, serializers.ModelSerializer[Source]):
    """A webhook endpoint. `secrets` are written at creation and never read."""

    secrets = serializers.ListField(
        child=serializers.CharField(max_length=MAX_SECRET_CHARS),
        write_only=True,
        required=False,
        max_length=10,
        help_text="Signing secrets, all active at once. Later ones are added at /secrets/.",
    )
    options = serializers.JSONField(required=False)
    rules = RulesField(required=False)
    pipeline = serializers.SlugRelatedField(slug_field="slug", queryset=Pipeline.objects.all())
    max_body_bytes = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MAX_BODY_BYTES
    )
    hook_url = serializers.SerializerMethodField(help_text="Where the sender posts to.")

    class Meta:
        model = Source
        fields = [
            "slug",
            "name",
            "scheme",
            "options",
            "rules",
            "secrets",
            "pipeline",
            "max_body_bytes",
            "hook_url",
            "paused_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["paused_at", "created_at", "updated_at"]

    def get_hook_url(self, source: Source) -> str:
        return f"{settings.PUBLIC_URL}/hooks/{source.slug}"

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        source = self.instance
        if source is not None and "secrets" in attrs:
            raise serializers.ValidationError({"secrets": "Add them at /api/v1/secrets/."})
        scheme = attrs.get("scheme", getattr(source, "scheme", ""))
        options = attrs.get("options", getattr(source, "options", {}))
        values = attrs.get("secrets", get_secret_values(source) if source else [])
        check_scheme(scheme, options, values)
        check_rules(attrs.get("rules", getattr(source, "rules", {})), scheme, options)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Source:
        values = validated_data.pop("secrets", [])
        source = Source.objects.create(**validated_data)
        for value in values:
            Secret.objects.create(source=source, value=value)
        return source


def get_secret_values(source: Source) -> list[str]:
    return [secret.value for secret in source.get_active_secrets()]


class TestEventSerializer(serializers.Serializer[Outcome]):
    """How ingest answered a test event."""

    status = serializers.IntegerField(help_text="As the sender reads it; 0: not sent.")
    is_accepted = serializers.BooleanField()
    detail = serializers.CharField(help_text="Why it was not accepted.")
    event_id = serializers.CharField(help_text="The event that it became, or empty.")


class SourceViewSet(ConfigurationViewSet):
    """Where events come from."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "sources.view_source"),
        "retrieve": Needs("config:read", "sources.view_source"),
        "create": Needs("config:write", "sources.add_source"),
        "partial_update": Needs("config:write", "sources.change_source"),
        "destroy": Needs("config:write", "sources.delete_source"),
        "pause": Needs("config:write", "sources.change_source"),
        "resume": Needs("config:write", "sources.change_source"),
        "rehearse": Needs("config:write", "sources.change_source"),
        "test": Needs("config:write", "sources.change_source"),
    }
    serializer_class = SourceSerializer
    queryset = Source.objects.select_related("pipeline")

    def partial_update(self, request: Request, slug: str) -> Response:
        with transaction.atomic():
            rules_before = self.get_queryset().select_for_update(of=("self",)).filter(slug=slug)
            before = {source.pk: source.rules for source in rules_before}
            response = super().partial_update(request, slug)
            for source in Source.objects.filter(pk__in=before):
                if changes := compare(before[source.pk], source.rules):
                    self.record("source.rules", source, changes=changes)
        return response

    def destroy(self, request: Request, slug: str) -> Response:
        try:
            return super().destroy(request, slug)
        except SourceInUse as error:
            raise Conflict(str(error)) from error

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, slug: str) -> Response:
        """Refuse events from now on."""
        source: Source = self.get_object()
        with transaction.atomic():
            if not source.pause():
                raise Conflict("The source is paused.")
            self.record("source.pause", source)
        return Response(self.get_serializer(source).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, slug: str) -> Response:
        """Accept events again."""
        source: Source = self.get_object()
        with transaction.atomic():
            if not source.resume():
                raise Conflict("The source is not paused.")
            self.record("source.resume", source)
        return Response(self.get_serializer(source).data)

    @extend_schema(request=None, responses=TestEventSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, slug: str) -> Response:
        """Send one signed test event through ingest. It is real: the pipeline runs, and pays."""
        source: Source = self.get_object()
        outcome = send_test_event(source, request.META)
        self.record("source.test", source, status=outcome.status)
        return Response(TestEventSerializer(outcome).data)

    @extend_schema(request=RehearsalRequestSerializer, responses=RehearsalSerializer)
    @action(detail=True, methods=["post"])
    def rehearse(self, request: Request, slug: str) -> Response:
        """What these rules would have made of the newest events. Nothing is saved."""
        source: Source = self.get_object()
        asked = RehearsalRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rules = asked.validated_data["rules"]
        check_rules(rules, source.scheme, source.options)
        return Response(RehearsalSerializer(rehearse(source, Rules.parse(rules))).data)
