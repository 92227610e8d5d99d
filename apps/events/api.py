"""Events and dead letters in the API."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.fields import SlugField
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer, read_filter
from apps.api.viewsets import ApiViewSet
from apps.events.conflict_api import (
    ConflictIdsSerializer,
    ConflictSerializer,
    ProcessedSerializer,
    VerifierSerializer,
    parse_ids,
)
from apps.events.conflicts import process_all
from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import FOR_APPROVAL, RETRYABLE, Attempt, Event, Status
from apps.events.recovery import Verb, recover, recover_all, unbury_all
from apps.events.route_serializer import RouteSerializer
from apps.events.search import EventFilter
from apps.events.unknown_outcomes import LookUp, look_up_answer, mark_failed
from apps.llm.lookup import NotKept
from apps.llm.provider import LLMError
from apps.streams.errors import QueueError

NOT_UNKNOWN = "The event is not held for a call of unknown outcome."
FOR_A_YES = (
    "The event is held for approval: approve, edit or reject its answer under /api/v1/approvals/."
)
READ = Needs("events:read", "events.view_event")
RETRY = Needs("events:write", "events.retry_event")
DISCARD = Needs("events:write", "events.discard_event")
RELATED = ("source", "pipeline_version__pipeline")
MAX_RECOVERED = 500  # events in one request; it answers within seconds, and who has more asks again


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    cost_usd = serializers.FloatField()
    route = RouteSerializer(allow_null=True, help_text="Where a model was asked; else null.")

    class Meta:
        model = Attempt
        fields = [
            "run",
            "step",
            "number",
            "outcome",
            "started_at",
            "finished_at",
            "error_code",
            "error",
            "http_status",
            "cost_usd",
            "route",
        ]
        read_only_fields = fields


@extend_schema_field({"description": "JSON of the pipeline's output schema, or null."})
class AnswerField(serializers.JSONField):
    """What the model answered."""


class EventSerializer(serializers.ModelSerializer[Event]):
    """An event as lists show it. `answer` is null until the model's answer was checked."""

    id = serializers.CharField(source="public_id", read_only=True)
    source = SlugRelatedField[Any](slug_field="slug", read_only=True)  # type: ignore[assignment]
    pipeline = serializers.CharField(source="pipeline_version.pipeline.slug", read_only=True)
    pipeline_version = serializers.IntegerField(source="pipeline_version.number", read_only=True)
    step = serializers.CharField(read_only=True, help_text="Where it stands or stopped, or empty.")
    answer = AnswerField(read_only=True)
    attempts = AttemptSerializer(many=True, read_only=True)
    cost_usd = serializers.FloatField(read_only=True)
    secret = VerifierSerializer(read_only=True, allow_null=True)
    has_conflicts = serializers.BooleanField(
        read_only=True, help_text="Whether another body came under its key."
    )

    class Meta:
        model = Event
        fields = [
            "id",
            "source",
            "pipeline",
            "pipeline_version",
            "status",
            "run",
            "event_type",
            "idempotency_key",
            "received_at",
            "finished_at",
            "waiting_until",
            "step",
            "answer",
            "error_code",
            "error",
            "attempts",
            "cost_usd",
            "size_bytes",
            "body_sha256",
            "secret",
            "has_conflicts",
        ]
        read_only_fields = fields


class EventDetailSerializer(EventSerializer):
    """One event, with the body as it was received."""

    body = serializers.SerializerMethodField()

    class Meta(EventSerializer.Meta):
        fields = [*EventSerializer.Meta.fields, "body"]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_body(self, event: Event) -> str | None:
        body = getattr(event, "body", None)  # retention may have taken it
        return bytes(body.raw).decode("utf-8", "replace") if body else None


class EventQuerySerializer(serializers.Serializer[Any]):
    """The filter of a list of events."""

    source = SlugField(required=False, help_text="Slug of the source.")  # type: ignore[assignment]
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    event_type = serializers.CharField(required=False, max_length=200)
    q = serializers.CharField(
        required=False,
        max_length=200,
        help_text="An event id, or a part of the body's beginning, the idempotency key or type.",
    )
    since = serializers.DateTimeField(required=False, help_text="Received then or later.")
    until = serializers.DateTimeField(required=False, help_text="Received before then.")
    conflicts = serializers.BooleanField(
        required=False,
        default=False,
        help_text="True: only those under whose key another body came.",
    )


WAITING = [(status.value, status.label) for status in RETRYABLE]


class DeadLetterQuerySerializer(serializers.Serializer[Any]):
    """The filter of the list of dead letters."""

    status = serializers.ChoiceField(choices=WAITING, required=False, default=Status.DEAD.value)
    source = SlugField(required=False, help_text="Slug of the source.")  # type: ignore[assignment]
    error_code = serializers.CharField(required=False, max_length=60)


class DeadLetterFilterSerializer(StrictSerializer):
    """Which dead letters, or held events, to act on. An empty filter means all dead letters."""

    status = serializers.ChoiceField(choices=WAITING, required=False, default=Status.DEAD.value)
    source = SlugField(required=False, help_text="Slug of the source.")  # type: ignore[assignment]
    error_code = serializers.CharField(required=False, max_length=60)
    ids = serializers.ListField(
        child=serializers.CharField(), required=False, min_length=1, max_length=1000
    )

    def validate_ids(self, ids: list[str]) -> list[uuid.UUID]:
        return parse_ids(ids)


class RecoverySerializer(serializers.Serializer[Any]):
    """How a bounded batch ended."""

    done = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="Somebody else was first.")
    remaining = serializers.IntegerField(help_text="Still fit; ask again where it is not 0.")


class UnburiedSerializer(serializers.Serializer[Any]):
    """How many entries the dispatcher was given again: up to 1,000 of each shard."""

    done = serializers.IntegerField()
    unreached = serializers.ListField(
        child=serializers.CharField(), help_text="Shards that did not answer and keep their own."
    )


class LookUpSerializer(serializers.Serializer[Any]):
    """What came of looking an answer up."""

    found = serializers.BooleanField(
        help_text="True: the event goes on with the answer. False: it stays held."
    )


class EventViewSet(ApiViewSet):
    """Events, newest first."""

    access: ClassVar[dict[str, Needs]] = {
        "list": READ,
        "retrieve": READ,
        "retry": RETRY,
        "discard": DISCARD,
        "fail": RETRY,
        "look_up": RETRY,
        "conflicts": Needs("events:read", "events.view_eventbody"),
        "process": RETRY,
    }
    newest_by = "received_at"
    serializer_class = EventSerializer
    lookup_value_regex = "[^/]+"
    queryset = (
        Event.objects.select_related(*RELATED)
        .with_secret()
        .marking_conflicts()
        .prefetch_related("attempts")
    )

    def find(self) -> QuerySet[Event]:
        asked = EventFilter(**self.get_valid_query(EventQuerySerializer))
        return asked.apply(self.get_queryset())

    def get_object(self) -> Event:
        try:
            event_id = parse_public_id(self.kwargs["pk"])
        except WrongEventId:
            raise Http404 from None
        event = Event.find(event_id, self.get_queryset().select_related("body"))
        if event is None:
            raise Http404
        return event

    @extend_schema(parameters=[EventQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=EventDetailSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(EventDetailSerializer(self.get_object()).data)

    @extend_schema(request=None, responses={202: EventSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Start a dead or held event again. What the model has answered is not paid again."""
        return Response(self._recover("retry"), status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses=EventSerializer)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        """Give an event up that is dead, held, or waits in a batch."""
        return Response(self._recover("discard"))

    @extend_schema(request=None, responses=EventSerializer)
    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: str) -> Response:
        """Make a dead letter of an event that is held for a call of unknown outcome."""
        event = self.get_object()
        if not mark_failed(event, self.user):
            raise Conflict(NOT_UNKNOWN)
        return Response(self.get_serializer(event).data)

    @extend_schema(request=None, responses=LookUpSerializer)
    @action(detail=True, methods=["post"], url_path="look-up")
    def look_up(self, request: Request, pk: str) -> Response:
        """Ask the provider for an answer that did not arrive; where found, the event goes on."""
        event = self.get_object()
        try:
            outcome = look_up_answer(event, self.user)
        except (NotKept, LLMError) as error:
            raise Conflict(f"{error} The event stays held.") from error
        if outcome == LookUp.TOO_LATE:
            raise Conflict(NOT_UNKNOWN)
        return Response(LookUpSerializer({"found": outcome == LookUp.FOUND}).data)

    @extend_schema(responses=ConflictSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def conflicts(self, request: Request, pk: str) -> Response:
        """The other bodies that came under the event's key, at most about twenty."""
        others = self.get_object().conflicts.select_related("secret").defer("secret__value")
        return Response(ConflictSerializer(others, many=True).data)

    @extend_schema(request=ConflictIdsSerializer, responses={202: ProcessedSerializer})
    @action(detail=True, methods=["post"], url_path="conflicts/process")
    def process(self, request: Request, pk: str) -> Response:
        """Make events of their own of other bodies: of those in `ids`, or of all."""
        serializer = ConflictIdsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        waiting = self.get_object().conflicts.select_related("event__source__pipeline")
        if ids := serializer.validated_data.get("ids"):
            waiting = waiting.filter(pk__in=ids)
        outcome = process_all(waiting, self.user)
        answer = {"done": outcome.done, "skipped": outcome.too_late}
        return Response(ProcessedSerializer(answer).data, status=status.HTTP_202_ACCEPTED)

    def _recover(self, verb: Verb) -> Any:
        event = self.get_object()
        if not recover(event, verb, self.user):
            event.refresh_from_db(fields=["status", "error_code"])
            if event.is_held_for_approval:
                raise Conflict(FOR_A_YES)
            raise Conflict(
                f"The event is {event.status}: only dead letters and held events can be changed, "
                "and those discarded that wait in a batch."
            )
        return self.get_serializer(event).data


class DeadLetterViewSet(ApiViewSet):
    """Events that failed for good, or are held, newest first."""

    access: ClassVar[dict[str, Needs]] = {
        "list": READ,
        "retry": RETRY,
        "discard": DISCARD,
        "unbury": RETRY,
    }
    newest_by = "received_at"
    serializer_class = EventSerializer
    queryset = EventViewSet.queryset.filter(status__in=RETRYABLE)

    def find(self) -> QuerySet[Event]:
        asked = EventFilter(**self.get_valid_query(DeadLetterQuerySerializer))
        return asked.apply(self.get_queryset())

    @extend_schema(parameters=[DeadLetterQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=DeadLetterFilterSerializer, responses={202: RecoverySerializer})
    @action(detail=False, methods=["post"])
    def retry(self, request: Request) -> Response:
        """Retry the 500 that wait longest of those that fit."""
        return Response(self._recover_many("retry"), status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=DeadLetterFilterSerializer, responses=RecoverySerializer)
    @action(detail=False, methods=["post"])
    def discard(self, request: Request) -> Response:
        """Discard the 500 that wait longest of those that fit."""
        return Response(self._recover_many("discard"))

    @extend_schema(request=None, responses={202: UnburiedSerializer})
    @action(detail=False, methods=["post"])
    def unbury(self, request: Request) -> Response:
        """Give accepted events that could not be stored to the dispatcher again."""
        try:
            outcome = unbury_all(self.user)
        except QueueError as error:
            raise Conflict(str(error)) from error
        answer = {"done": outcome.given, "unreached": outcome.unreached}
        return Response(UnburiedSerializer(answer).data, status=status.HTTP_202_ACCEPTED)

    def _recover_many(self, verb: Verb) -> Any:
        dead = get_dead_letters(**read_filter(self.request, DeadLetterFilterSerializer))
        oldest = list(dead.order_by("received_at", "pk")[:MAX_RECOVERED])
        outcome = recover_all(oldest, verb, self.user)
        answer = {"done": outcome.done, "skipped": outcome.too_late, "remaining": dead.count()}
        return RecoverySerializer(answer).data


def get_dead_letters(ids: Sequence[uuid.UUID] = (), **wanted: Any) -> QuerySet[Event]:
    """Dead letters, or held events, that fit, and not those held for approval."""
    dead = EventFilter(**wanted).apply(Event.objects.filter(status__in=RETRYABLE))
    dead = dead.exclude(FOR_APPROVAL)
    return dead.filter(pk__in=ids) if ids else dead
