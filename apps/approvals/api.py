"""Answers that wait for a person, in the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.approvals import deciding
from apps.approvals.deciding import AlreadyDecided
from apps.approvals.filters import DECIDED, ApprovalFilter
from apps.approvals.models import NOTE_MAX_CHARS, Approval, Decision
from apps.llm.output import UnfitAnswer
from apps.pipelines.approval import OnTimeout

READ = Needs("events:read", "approvals.view_approval")
DECIDE = Needs("events:write", "approvals.decide_approval")
ANSWER = "As the pipeline's output schema has it; a text where there is none."


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """An answer that waits for a person's yes, or has waited."""

    id = serializers.CharField(source="public_id")
    event = serializers.CharField(source="event.public_id")
    source = serializers.CharField(source="event.source.slug")  # type: ignore[assignment]
    pipeline = serializers.CharField(source="event.pipeline_version.pipeline.slug")
    pipeline_version = serializers.IntegerField(source="event.pipeline_version.number")
    state = serializers.ChoiceField(Decision.choices, source="decision")
    reason = serializers.CharField(help_text="Why it waits, in plain words.")
    answer = serializers.JSONField(help_text=f"What the model said. {ANSWER}")
    edited_answer = serializers.JSONField(
        allow_null=True, help_text="What is delivered instead, where it was edited; else null."
    )
    on_timeout = serializers.ChoiceField(
        list(OnTimeout), source="terms.on_timeout", help_text="What happens at the deadline."
    )
    decided_by = serializers.CharField(
        source="decided_by_name", help_text="Empty: nobody, or the time ran out."
    )

    class Meta:
        model = Approval
        fields = [
            *("id", "event", "run", "source", "pipeline", "pipeline_version", "state", "reason"),
            *("answer", "edited_answer", "held_at", "deadline", "on_timeout"),
            *("decided_at", "decided_by", "note"),
        ]
        read_only_fields = fields


STATES = [(DECIDED, "Whatever was decided"), *Decision.choices]


class ApprovalQuerySerializer(serializers.Serializer[Any]):
    """The filter of the list."""

    state = serializers.ChoiceField(STATES, required=False)
    pipeline = serializers.SlugField(required=False, help_text="Slug of the pipeline.")
    older_than_h = serializers.IntegerField(
        required=False, min_value=0, max_value=100_000, help_text="Held so many hours ago or more."
    )


class NoteSerializer(StrictSerializer):
    """Why, for those who read it later. It is not delivered."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=NOTE_MAX_CHARS)


class EditSerializer(NoteSerializer):
    """The answer to deliver instead."""

    answer = serializers.JSONField(allow_null=True, help_text=ANSWER)


class ApprovalViewSet(ApiViewSet):
    """Answers held for approval, the newest first."""

    access: ClassVar[dict[str, Needs]] = {
        "list": READ,
        "retrieve": READ,
        "approve": DECIDE,
        "edit": DECIDE,
        "reject": DECIDE,
    }
    newest_by = "held_at"
    serializer_class = ApprovalSerializer
    lookup_value_regex = "[^/]+"
    queryset = Approval.objects.select_related("event__source", "event__pipeline_version__pipeline")

    def find(self) -> QuerySet[Approval]:
        asked = ApprovalFilter(**self.get_valid_query(ApprovalQuerySerializer))
        return asked.apply(self.get_queryset())

    def get_object(self) -> Approval:
        pk = Approval.parse_public_id(self.kwargs["pk"])
        found: Approval | None = self.get_queryset().filter(pk=pk).first() if pk else None
        if found is None:
            raise Http404
        return found

    @extend_schema(parameters=[ApprovalQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One answer. The event's data is that of the event."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=NoteSerializer, responses=ApprovalSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Deliver the answer as it is; `409` where it was decided before."""
        return self._decide(NoteSerializer, deciding.approve)

    @extend_schema(request=EditSerializer, responses=ApprovalSerializer)
    @action(detail=True, methods=["post"])
    def edit(self, request: Request, pk: str) -> Response:
        """Deliver another answer; `400` where it does not fit the schema, and it still waits."""
        return self._decide(EditSerializer, deciding.edit_json)

    @extend_schema(request=NoteSerializer, responses=ApprovalSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Deliver nothing: the event is discarded, for good."""
        return self._decide(NoteSerializer, deciding.reject)

    def _decide(
        self, serializer_class: type[NoteSerializer], verb: Callable[..., None]
    ) -> Response:
        approval = self.get_object()
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        with as_problems():
            verb(approval, actor=self.user, **serializer.validated_data)
        return Response(self.get_serializer(self.get_object()).data)


@contextmanager
def as_problems() -> Iterator[None]:
    try:
        yield
    except AlreadyDecided as error:
        raise Conflict(str(error), code=error.code) from error
    except UnfitAnswer as error:
        raise serializers.ValidationError({"answer": [str(error)]}) from error
