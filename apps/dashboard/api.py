"""The six figures in the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.viewsets import ApiViewSet
from apps.dashboard.cards import get_stale_after_s
from apps.dashboard.models import StatusSample


class StatsSerializer(serializers.ModelSerializer[StatusSample]):
    """The six figures, then what stands beside them on the page. Unknown is null, never 0."""

    at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Null: no sample is young enough."
    )

    class Meta:
        model = StatusSample
        fields = [
            "queue_length",
            "consumer_lag",
            "llm_latency_s",
            "error_rate",
            "dead_letters",
            "workflow_success_rate",
            "llm_latency_p95_s",
            "delivered_per_minute",
            "held",
            "at",
        ]
        read_only_fields = fields


class StatsViewSet(ApiViewSet):
    """The figures of now."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("events:read", "dashboard.view_statussample")
    }
    serializer_class = StatsSerializer
    queryset = StatusSample.objects.all()
    pagination_class = None

    @extend_schema(
        operation_id="stats_retrieve",
        responses=forced_singular_serializer(StatsSerializer),  # type: ignore[no-untyped-call]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The newest sample. Where it is old, the figures of now are unknown."""
        oldest = timezone.now() - timedelta(seconds=get_stale_after_s())
        sample = self.get_queryset().filter(at__gte=oldest).first()
        return Response(self.get_serializer(sample or StatusSample()).data)
