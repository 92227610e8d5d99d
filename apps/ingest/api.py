"""Refused requests in the API: read, verified again, accepted or discarded, one or many."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs, check_access
from apps.api.problems import Conflict
from apps.api.serializers import read_filter
from apps.api.viewsets import ApiViewSet
from apps.events.paging import Key
from apps.ingest.acceptance import Acceptance, Outcome, StillRefused, discard, discard_all
from apps.ingest.models import RefusedRequest, State
from apps.ingest.refused_filter import RefusedFilter
from apps.ingest.refused_serializers import (
    ContentQuerySerializer,
    RefusedDetailSerializer,
    RefusedFilterSerializer,
    RefusedQuerySerializer,
    RefusedSerializer,
    SettledSerializer,
    VerdictSerializer,
)
from apps.streams.errors import QueueError
from apps.vault.vault import VaultError

READ = Needs("events:read", "ingest.view_refusedrequest")
READ_CONTENT = Needs("events:read", "ingest.read_refusedrequest")
ACCEPT = Needs("events:write", "ingest.accept_refusedrequest")
DISCARD = Needs("events:write", "ingest.discard_refusedrequest")
MAX_SETTLED = 200  # requests in one request; it answers within seconds, and who has more asks again
TOO_LATE = "It is {}: only kept requests can be accepted or discarded."


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
        asked = read_filter(self.request, RefusedFilterSerializer)
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
