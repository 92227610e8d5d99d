"""Open circuit breakers in the API: seen, and closed by hand."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.viewsets import ApiViewSet
from apps.llm import breaker
from apps.llm.breaker import OpenBreaker
from apps.llm.breaker_closing import PERMISSION, close_by_hand
from apps.llm.models import LLMCall
from apps.streams.errors import QueueError


class QueueAway(APIException):
    """The queue server, which keeps them, does not answer."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "queue_down"


class BreakerSerializer(serializers.Serializer[OpenBreaker]):
    """A model that is left alone until its probe succeeds."""

    id = serializers.CharField()
    provider = serializers.CharField()
    model = serializers.CharField()
    since = serializers.DateTimeField()
    probe_at = serializers.DateTimeField(help_text="When the next call may try.")
    code = serializers.CharField(help_text="Machine word of the last failure.")


class BreakerViewSet(ApiViewSet):
    """The circuit breakers that are open now."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("events:read", "llm.view_llmcall"),
        "close": Needs("config:write", PERMISSION),
    }
    serializer_class = BreakerSerializer
    queryset = LLMCall.objects.none()  # they are no rows: the queue server keeps them
    pagination_class = None
    lookup_value_regex = "[0-9a-f]{16}"

    @extend_schema(responses=BreakerSerializer(many=True))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Longest ago first; none where every model is asked."""
        try:
            found = breaker.find_open()
        except QueueError as error:
            raise QueueAway(str(error)) from error
        return Response(self.get_serializer(found, many=True).data)

    @extend_schema(
        request=None,
        responses={204: None},
        parameters=[OpenApiParameter("id", str, OpenApiParameter.PATH)],
    )
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Let calls through again. Events that wait come back within minutes, one by one."""
        token = getattr(request.auth, "prefix", None)
        try:
            closed = close_by_hand(pk, self.user, **({"token": token} if token else {}))
        except QueueError as error:
            raise QueueAway(str(error)) from error
        if not closed:
            raise NotFound("No open breaker has this id.")
        return Response(status=status.HTTP_204_NO_CONTENT)
