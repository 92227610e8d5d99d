"""The nouns that are configured: found by slug, made, changed and deleted, each act audited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.problems import Conflict
from apps.api.viewsets import ApiViewSet


class ConfigurationViewSet(RetrieveModelMixin, ApiViewSet):
    """A subclass says serializer, rows and who may what; the serializer's save() is the verb."""

    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]+"

    def create(self, request: Request) -> Response:
        serializer = self.get_valid()
        with transaction.atomic(), refuse_taken_slug():
            row = serializer.save()
            self.record(self.get_act("create"), row)
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, slug: str) -> Response:
        serializer = self.get_valid(self.get_object(), partial=True)
        with transaction.atomic():
            row = serializer.save()
            self.record(self.get_act("update"), row, fields=sorted(serializer.validated_data))
        return Response(self.get_serializer(row).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, slug: str) -> Response:
        row = self.get_object()
        with transaction.atomic():
            self.record(self.get_act("delete"), row)
            row.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def get_act(self, verb: str) -> str:
        """As the audit names it: `source.create`."""
        return f"{self.get_queryset().model._meta.model_name}.{verb}"


@contextmanager
def refuse_taken_slug() -> Iterator[None]:
    """Two may ask for the same slug at once: the database lets one of them have it."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict("Somebody took this slug a moment ago.") from None
