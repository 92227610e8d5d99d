"""Who did what, in the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.viewsets import ApiViewSet
from apps.audit.models import AuditEntry


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    actor = serializers.CharField(source="actor_name", read_only=True)

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "action", "object_type", "object_id", "details"]
        read_only_fields = fields


class AuditQuerySerializer(serializers.Serializer[Any]):
    """The filter of the list."""

    actor = serializers.CharField(required=False, help_text="User name.")
    action = serializers.CharField(required=False)
    object_type = serializers.CharField(required=False)
    object_id = serializers.CharField(required=False)


class AuditViewSet(ApiViewSet):
    """The audit, newest first. Nobody changes it."""

    access: ClassVar[dict[str, Needs]] = {"list": Needs("all", "audit.view_auditentry")}
    newest_by = "at"
    serializer_class = AuditEntrySerializer
    queryset = AuditEntry.objects.all()

    def find(self) -> QuerySet[AuditEntry]:
        asked = self.get_valid_query(AuditQuerySerializer)
        if "actor" in asked:
            asked["actor_name"] = asked.pop("actor")
        return self.get_queryset().filter(**asked)

    @extend_schema(parameters=[AuditQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)
