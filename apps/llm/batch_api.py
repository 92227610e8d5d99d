"""Batches in the API: read only, they go their way by themselves."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.viewsets import ApiViewSet
from apps.llm.batch_models import LLMBatch

READ = Needs("events:read", "llm.view_llmbatch")


class BatchSerializer(serializers.ModelSerializer[LLMBatch]):
    """Calls that went to the provider together. Costs are known for those that are answered."""

    provider = serializers.CharField(help_text="Its slug; empty: the provider of the settings.")
    size = serializers.IntegerField(help_text="Calls.")
    waiting = serializers.IntegerField(help_text="Calls of which nothing came back yet.")
    lost = serializers.IntegerField(help_text="Calls of unknown outcome.")
    saved_usd = serializers.DecimalField(
        max_digits=14, decimal_places=6, help_text="Less than the list price."
    )
    due_at = serializers.DateTimeField(help_text="When the first must have its answer.")
    problem = serializers.CharField(help_text="What went wrong, or empty.")

    class Meta:
        model = LLMBatch
        fields = [
            *("id", "provider", "model", "state", "provider_status", "size", "waiting"),
            *("answered", "refused", "lost", "cost_usd", "saved_usd"),
            *("created_at", "due_at", "finished_at", "problem"),
        ]
        read_only_fields = fields


class BatchViewSet(RetrieveModelMixin, ApiViewSet):
    """Batches, newest first."""

    access: ClassVar[dict[str, Needs]] = {"list": READ, "retrieve": READ}
    serializer_class = BatchSerializer
    lookup_value_regex = "[0-9a-f-]{32,36}"
    queryset = LLMBatch.objects.all()

    @extend_schema(responses=BatchSerializer)
    def retrieve(self, request: Request, *args: object, **kwargs: object) -> Response:
        """One batch."""
        return super().retrieve(request, *args, **kwargs)
