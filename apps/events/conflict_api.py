"""How the API shows an event's secret and its conflicts."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework import serializers

from apps.api.serializers import StrictSerializer
from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import EventConflict
from apps.sources.models import Secret


class VerifierSerializer(serializers.ModelSerializer[Secret]):
    """The secret that verified an event: its number and its name, never its value."""

    label = serializers.CharField(read_only=True)  # type: ignore[assignment]

    class Meta:
        model = Secret
        fields = ["id", "label"]
        read_only_fields = fields


class ConflictSerializer(serializers.ModelSerializer[EventConflict]):
    """Another body under an event's key. Once processed, it is the event of the same id."""

    id = serializers.CharField(source="public_id", read_only=True)
    secret = VerifierSerializer(read_only=True, allow_null=True)
    size_bytes = serializers.SerializerMethodField()
    body = serializers.SerializerMethodField()

    class Meta:
        model = EventConflict
        fields = [
            "id",
            "received_at",
            "event_type",
            "content_type",
            "size_bytes",
            "sha256",
            "secret",
            "processed_at",
            "body",
        ]
        read_only_fields = fields

    def get_size_bytes(self, conflict: EventConflict) -> int:
        return len(conflict.raw)

    def get_body(self, conflict: EventConflict) -> str:
        return bytes(conflict.raw).decode("utf-8", "replace")


class ConflictIdsSerializer(StrictSerializer):
    """Which conflicts of the event; without `ids`, all of them."""

    ids = serializers.ListField(
        child=serializers.CharField(), required=False, min_length=1, max_length=100
    )

    def validate_ids(self, ids: list[str]) -> list[uuid.UUID]:
        return parse_ids(ids)


class ProcessedSerializer(serializers.Serializer[Any]):
    """How many became events, and how many were events already."""

    done = serializers.IntegerField()
    skipped = serializers.IntegerField()


def parse_ids(texts: list[str]) -> list[uuid.UUID]:
    """The ids of a request; raises ValidationError."""
    try:
        return [parse_public_id(text) for text in texts]
    except WrongEventId as error:
        raise serializers.ValidationError(str(error)) from None
