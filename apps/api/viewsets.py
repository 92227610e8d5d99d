"""What all views of the API share: policy in class attributes, one way to load, act and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, cast

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from apps.accounts.models import User
from apps.api.parsers import StorableJSONParser
from apps.api.permissions import Needs
from apps.audit.models import AuditEntry


class ApiViewSet(GenericViewSet[Any]):
    """A noun of the API. `access` says for each action which scope and permission it needs."""

    access: ClassVar[Mapping[str, Needs]] = {}
    newest_by = "created_at"
    parser_classes = [StorableJSONParser]
    metadata_class = None  # the OpenAPI document says it better than OPTIONS

    @property
    def user(self) -> User:
        """Who asks: RolePermission lets nobody else in."""
        return cast(User, self.request.user)

    def find(self) -> QuerySet[Any]:
        """The rows that the query string asks for."""
        return self.get_queryset()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.find())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def get_valid(self, *args: Any, **kwargs: Any) -> BaseSerializer[Any]:
        """The action's serializer over the request's body; raises ValidationError."""
        serializer = self.get_serializer(*args, data=self.request.data, **kwargs)
        serializer.is_valid(raise_exception=True)
        return serializer

    def get_valid_query(self, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
        """The query string, read by `serializer_class`; raises ValidationError."""
        serializer = serializer_class(data=self.request.query_params)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def record(self, action: str, target: Any, **details: Any) -> None:
        """Note in the audit that the asker did it, and by which token."""
        token = getattr(self.request.auth, "prefix", None)
        if token:
            details["token"] = token
        AuditEntry.record(self.user, action, target, **details)


class UnknownPath(APIView):
    """Whatever under /api/ is no address of ours."""

    authentication_classes = []
    permission_classes = []
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
        hint = "" if request.path.endswith("/") else " Addresses end with a slash."
        raise NotFound(f"There is nothing at this address.{hint}")
