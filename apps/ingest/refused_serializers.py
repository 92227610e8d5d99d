"""What the API says of refused requests, and the filters that it reads."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import SlugField
from rest_framework.relations import SlugRelatedField

from apps.api.serializers import StrictSerializer
from apps.events.paging import Key
from apps.ingest.models import RefusedRequest, State
from apps.ingest.refused_content import mask_headers, mask_url, unpack


class RefusedSerializer(serializers.ModelSerializer[RefusedRequest]):
    """A refused request as lists show it. `event` is null unless it was accepted."""

    id = serializers.CharField(source="public_id", read_only=True)
    source = SlugRelatedField[Any](slug_field="slug", read_only=True)  # type: ignore[assignment]
    event = serializers.SerializerMethodField()

    class Meta:
        model = RefusedRequest
        fields = [
            "id",
            "source",
            "state",
            "code",
            "reason",
            "received_at",
            "last_received_at",
            "times",
            "address",
            "method",
            "size_bytes",
            "event",
            "settled_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_event(self, refused: RefusedRequest) -> str | None:
        return refused.event_public_id or None


class HeaderSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.CharField(help_text="Only begun where it may be a credential.")


class ContentSerializer(serializers.Serializer[Any]):
    """What came: not verified by anybody."""

    line = serializers.CharField(help_text="Method and path; parameters without their values.")
    headers = HeaderSerializer(many=True)
    body = serializers.CharField()


class RefusedDetailSerializer(RefusedSerializer):
    """One refused request. `content` is null unless asked for, and once it is settled."""

    content = serializers.SerializerMethodField()

    class Meta(RefusedSerializer.Meta):
        fields = [*RefusedSerializer.Meta.fields, "content"]

    @extend_schema_field(ContentSerializer(allow_null=True))
    def get_content(self, refused: RefusedRequest) -> dict[str, Any] | None:
        if not self.context.get("with_content"):
            return None
        content = refused.content  # deferred: read and decrypted here
        return read_content(content) if content else None


def read_content(content: bytes) -> dict[str, Any]:
    whole = unpack(content)
    headers = [{"name": name, "value": value} for name, value in mask_headers(whole.headers)]
    return {
        "line": f"{whole.method} {mask_url(whole.url)}",
        "headers": headers,
        "body": whole.body.decode("utf-8", "replace"),
    }


class RefusedQuerySerializer(serializers.Serializer[Any]):
    """The filter of the list."""

    source = SlugField(required=False, help_text="Slug of the source.")  # type: ignore[assignment]
    code = serializers.CharField(required=False, max_length=60)
    state = serializers.ChoiceField(choices=State.choices, required=False)
    since = serializers.DateTimeField(required=False, help_text="Last received then or later.")
    until = serializers.DateTimeField(required=False, help_text="First received then or before.")


class ContentQuerySerializer(serializers.Serializer[Any]):
    content = serializers.BooleanField(
        required=False, default=False, help_text="Also headers and body; needs the role support."
    )


class RefusedFilterSerializer(StrictSerializer):
    """Which kept requests are meant. An empty filter means all of them."""

    source = SlugField(required=False, help_text="Slug of the source.")  # type: ignore[assignment]
    code = serializers.CharField(required=False, max_length=60)
    since = serializers.DateTimeField(required=False, help_text="Last received then or later.")
    until = serializers.DateTimeField(required=False, help_text="First received then or before.")
    ids = serializers.ListField(
        child=serializers.CharField(), required=False, min_length=1, max_length=1000
    )
    after = serializers.CharField(
        required=False, max_length=100, help_text="`after` of the answer before this one."
    )

    def validate_ids(self, ids: list[str]) -> list[UUID]:
        found = [RefusedRequest.parse_public_id(text) for text in ids]
        if None in found:
            raise serializers.ValidationError("An id looks like ref_ and 32 hex digits.")
        return [each for each in found if each]

    def validate_after(self, after: str) -> Key:
        key = Key.parse(after)
        if key is None:
            raise serializers.ValidationError("It is only ever taken from an answer.")
        return key


class VerdictSerializer(serializers.Serializer[Any]):
    """Whether it would pass with the source as it is now."""

    passes = serializers.BooleanField()
    code = serializers.CharField(help_text="A word for a program; empty where it passes.")
    reason = serializers.CharField(help_text="A sentence for a person; empty where it passes.")


class SettledSerializer(serializers.Serializer[Any]):
    """How a bounded batch ended, the oldest first."""

    done = serializers.IntegerField(help_text="Accepted as new events, or discarded.")
    duplicates = serializers.IntegerField(help_text="The event had come another way.")
    skipped = serializers.IntegerField(help_text="Somebody else was first.")
    still_refused = serializers.DictField(
        child=serializers.IntegerField(), help_text="By code; they stay kept."
    )
    stopped = serializers.CharField(help_text="Why it ended early; empty where it did not.")
    remaining = serializers.IntegerField(help_text="Not tried yet: ask again with `after`.")
    after = serializers.CharField(allow_null=True, help_text="For the next request, or null.")
