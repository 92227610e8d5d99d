"""Signing secrets in the API: added for a rotation, given an end, retired."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.sources.api import MAX_SECRET_CHARS, check_scheme
from apps.sources.models import Secret, SecretState, Source
from apps.sources.schemes import WrongOptions, make_secret


class SecretSerializer(serializers.ModelSerializer[Secret]):
    """A signing secret, without its value."""

    source = SlugRelatedField[Any](slug_field="slug", read_only=True)  # type: ignore[assignment]
    state = serializers.ChoiceField(choices=SecretState.choices, read_only=True)
    is_active = serializers.BooleanField(read_only=True, help_text="Whether it verifies now.")
    last_used_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="When the newest event came that it verified, to a minute; null: never.",
    )

    class Meta:
        model = Secret
        fields = [
            "id",
            "source",
            "name",
            "created_at",
            "starts_at",
            "ends_at",
            "state",
            "is_active",
            "last_used_at",
        ]
        read_only_fields = fields


class NewSecretSerializer(StrictSerializer, serializers.ModelSerializer[Secret]):
    """What a new secret needs; without `value` one is made up."""

    source = SlugRelatedField(  # type: ignore[assignment]
        slug_field="slug", queryset=Source.objects.all()
    )
    value = serializers.CharField(required=False, max_length=MAX_SECRET_CHARS)
    others_end_at = serializers.DateTimeField(
        required=False,
        write_only=True,
        help_text="A rotation: when the source's other active secrets end, unless they do before.",
    )

    class Meta:
        model = Secret
        fields = ["source", "name", "value", "starts_at", "ends_at", "others_end_at"]

    def validate_others_end_at(self, at: datetime) -> datetime:
        return check_future(at)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("starts_at", timezone.now())
        if attrs.get("ends_at") and attrs["ends_at"] < attrs["starts_at"]:
            raise serializers.ValidationError({"ends_at": "It ends before it starts."})
        if attrs.get("others_end_at") and attrs["others_end_at"] < attrs["starts_at"]:
            gap = "They would end before it starts, and nothing would be accepted meanwhile."
            raise serializers.ValidationError({"others_end_at": gap})
        source = attrs["source"]
        if "value" not in attrs:
            attrs["value"] = make_value(source)
        check_scheme(source.scheme, source.options, [attrs["value"]], field="value")
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Secret:
        others_end_at = validated_data.pop("others_end_at", None)
        secret = Secret(**validated_data)
        secret.source.rotate(secret, others_end_at)
        return secret


class SecretChangeSerializer(StrictSerializer, serializers.ModelSerializer[Secret]):
    """What can be changed: the name, and the end of one that has not ended; null: no end."""

    class Meta:
        model = Secret
        fields = ["name", "ends_at"]

    def validate_ends_at(self, at: datetime | None) -> datetime | None:
        return at and check_future(at)


def check_future(at: datetime) -> datetime:
    """Raises ValidationError for a time that has passed."""
    if at <= timezone.now():
        raise serializers.ValidationError("It has passed: retire the secret instead.")
    return at


def make_value(source: Source) -> str:
    """A secret that this source's scheme can use. Raises ValidationError where none can be."""
    try:
        return make_secret(source.scheme, source.options)
    except WrongOptions as error:
        raise serializers.ValidationError({"value": error.message}) from None


class RevealedSecretSerializer(SecretSerializer):
    """A new secret: the only answer that ever shows its value."""

    class Meta(SecretSerializer.Meta):
        fields = [*SecretSerializer.Meta.fields, "value"]
        read_only_fields = fields


class SecretQuerySerializer(serializers.Serializer[Any]):
    """The filter of the list."""

    source = serializers.SlugField(  # type: ignore[assignment]
        required=False, help_text="Slug of the source."
    )


class SecretViewSet(RetrieveModelMixin, ApiViewSet):
    """Signing secrets of all sources; several can be active at once."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "sources.view_secret"),
        "retrieve": Needs("config:read", "sources.view_secret"),
        "create": Needs("config:write", "sources.add_secret"),
        "partial_update": Needs("config:write", "sources.change_secret"),
        "retire": Needs("config:write", "sources.change_secret"),
        "destroy": Needs("config:write", "sources.change_secret"),
    }
    serializer_class = SecretSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    queryset = Secret.objects.select_related("source").defer("value")

    def find(self) -> QuerySet[Secret]:
        asked = self.get_valid_query(SecretQuerySerializer)
        secrets = self.get_queryset()
        return secrets.filter(source__slug=asked["source"]) if "source" in asked else secrets

    @extend_schema(parameters=[SecretQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=NewSecretSerializer, responses={201: RevealedSecretSerializer})
    def create(self, request: Request) -> Response:
        """Add a secret. Its value is in this answer and nowhere else."""
        serializer = NewSecretSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            others_end_at = serializer.validated_data.get("others_end_at")
            ended = {"others_end_at": others_end_at.isoformat()} if others_end_at else {}
            secret = serializer.save()
            self.record("secret.create", secret, source=secret.source.slug, **ended)
        return Response(RevealedSecretSerializer(secret).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=SecretChangeSerializer, responses=SecretSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change its name, or when it ends."""
        secret: Secret = self.get_object()
        serializer = SecretChangeSerializer(secret, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        with transaction.atomic():
            if "ends_at" in given and not secret.end_at(given["ends_at"]):
                raise Conflict("The secret has ended, or somebody changed its end a moment ago.")
            if "name" in given:
                secret.rename(given["name"])
            self.record("secret.update", secret, source=secret.source.slug, fields=sorted(given))
        return Response(self.get_serializer(secret).data)

    @extend_schema(request=None, responses=SecretSerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, pk: str) -> Response:
        """Stop verifying with it now."""
        secret: Secret = self.get_object()
        if not self._retire(secret):
            raise Conflict("The secret had ended before.")
        return Response(self.get_serializer(secret).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Stop verifying with it now; the row stays, so that the audit can name it."""
        self._retire(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _retire(self, secret: Secret) -> bool:
        with transaction.atomic():
            retired = secret.retire()
            if retired:
                self.record("secret.retire", secret, source=secret.source.slug)
        return retired
