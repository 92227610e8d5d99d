"""Refused requests in the API: read, verified again, accepted or discarded, one or many."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.fields import SlugField
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs, check_access
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.events.paging import Key
from apps.ingest.acceptance import Acceptance, Outcome, StillRefused, discard, discard_all
from apps.ingest.models import RefusedRequest, State
from apps.ingest.refused_content import mask_headers, mask_url, unpack
from apps.ingest.refused_filter import RefusedFilter
from apps.streams.errors import QueueError
from apps.vault.vault import VaultError

READ = Needs("events:read", "ingest.view_refusedrequest")
READ_CONTENT = Needs("events:read", "ingest.read_refusedrequest")
ACCEPT = Needs("events:write", "ingest.accept_refusedrequest")
DISCARD = Needs("events:write", "ingest.discard_refusedrequest")
MAX_SETTLED = 200  # requests in one request; it answers within seconds, and who has more asks again
TOO_LATE = "It is {}: only kept requests can be accepted or discarded."


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


class RefusedRequestViewSet(ApiViewSet):
    """Refused requests, newest first."""

    access: ClassVar[dict[str, Needs]] = {
        "list": READ,
        "retrieve": READ,
        "verify": READ,
        "accept": ACCEPT,
        "accept_many": ACCEPT,
        "discard": DISCARD,
        "discard_many": DISCARD,
    }
    newest_by = "received_at"
    serializer_class = RefusedSerializer
    lookup_value_regex = "[^/]+"
    queryset = RefusedRequest.objects.select_related("source").defer("content")

    def find(self) -> QuerySet[RefusedRequest]:
        asked = RefusedFilter(**self.get_valid_query(RefusedQuerySerializer))
        return asked.apply(self.get_queryset())

    def get_object(self) -> RefusedRequest:
        pk = RefusedRequest.parse_public_id(self.kwargs["pk"])
        found: RefusedRequest | None = self.get_queryset().filter(pk=pk).first() if pk else None
        if found is None:
            raise Http404
        return found

    @extend_schema(parameters=[RefusedQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(parameters=[ContentQuerySerializer], responses=RefusedDetailSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Without headers and body unless `content=true`."""
        with_content = self.get_valid_query(ContentQuerySerializer)["content"]
        if with_content:
            check_access(request, READ_CONTENT)
        serializer = RefusedDetailSerializer(
            self.get_object(), context={"with_content": with_content}
        )
        try:
            return Response(serializer.data)
        except VaultError as error:
            raise Conflict(str(error)) from error

    @extend_schema(request=None, responses=VerdictSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, pk: str) -> Response:
        """Whether it would pass now. Changes nothing."""
        verdict = {"passes": True, "code": "", "reason": ""}
        try:
            Acceptance().verify(self.get_object())
        except StillRefused as error:
            verdict = {"passes": False, "code": error.code, "reason": error.reason}
        except VaultError as error:
            raise Conflict(str(error)) from error
        return Response(VerdictSerializer(verdict).data)

    @extend_schema(request=None, responses=RefusedSerializer)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """Verify it again and make it an event; `409` with the reason where it does not pass."""
        refused = self.get_object()
        try:
            outcome = Acceptance().accept(refused, self.user)
        except StillRefused as error:
            raise Conflict(error.reason, code="still_refused") from error
        except (QueueError, VaultError) as error:
            raise Conflict(str(error), code=error.code) from error
        self._check_in_time(refused, in_time=outcome is not Outcome.TOO_LATE)
        return Response(self.get_serializer(refused).data)

    @extend_schema(request=None, responses=RefusedSerializer)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        """Delete its headers and body for good."""
        refused = self.get_object()
        self._check_in_time(refused, in_time=discard(refused, self.user))
        return Response(self.get_serializer(refused).data)

    def _check_in_time(self, refused: RefusedRequest, *, in_time: bool) -> None:
        if not in_time:
            refused.refresh_from_db(fields=["state"])
            raise Conflict(TOO_LATE.format(refused.state))

    @extend_schema(
        operation_id="refused_requests_accept_many",
        request=RefusedFilterSerializer,
        responses=SettledSerializer,
    )
    @action(detail=False, methods=["post"], url_path="accept")
    def accept_many(self, request: Request) -> Response:
        """Verify the 200 that wait longest of those that fit, and accept what passes."""
        return self._settle("accept")

    @extend_schema(
        operation_id="refused_requests_discard_many",
        request=RefusedFilterSerializer,
        responses=SettledSerializer,
    )
    @action(detail=False, methods=["post"], url_path="discard")
    def discard_many(self, request: Request) -> Response:
        """Discard the 200 that wait longest of those that fit."""
        return self._settle("discard")

    def _settle(self, verb: str) -> Response:
        serializer = RefusedFilterSerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        asked = dict(serializer.validated_data)
        last: Key | None = asked.pop("after", None)
        rest = get_kept(last, RefusedFilter(**asked))
        batch = list(rest[:MAX_SETTLED])
        try:
            answer = settle(verb, batch, self.user)
        except VaultError as error:
            raise Conflict(str(error)) from error
        if batch and not answer["stopped"]:
            last = Key.of(batch[-1])  # what stays refused is not tried again and again
        remaining = (rest.filter(last.is_before()) if last else rest).count()
        answer |= {"remaining": remaining, "after": str(last) if last and remaining else None}
        return Response(SettledSerializer(answer).data)


def get_kept(after: Key | None, wanted: RefusedFilter) -> QuerySet[RefusedRequest]:
    """The kept ones that fit, the oldest first, behind `after`."""
    kept = wanted.apply(RefusedRequest.objects.filter(state=State.KEPT))
    kept = kept.filter(received_at__lte=timezone.now()).order_by("received_at", "id")
    return kept.filter(after.is_before()) if after else kept


def settle(verb: str, batch: list[RefusedRequest], user: Any) -> dict[str, Any]:
    if verb == "discard":
        done = discard_all(batch, user)
        return {
            "done": done,
            "duplicates": 0,
            "skipped": len(batch) - done,
            "still_refused": {},
            "stopped": "",
        }
    summary = Acceptance().accept_all(batch, user)
    return {
        "done": summary.accepted,
        "duplicates": summary.duplicates,
        "skipped": summary.too_late,
        "still_refused": dict(summary.still_refused),
        "stopped": summary.stopped,
    }
