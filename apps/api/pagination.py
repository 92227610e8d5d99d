"""Cursor pagination, newest first: a page costs the same at any depth, and rows that arrive
meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200


@dataclass(frozen=True)
class Cursor:
    """A place between two rows: `newer` reads upwards from there, otherwise downwards."""

    newer: bool
    at: datetime
    pk: str

    def encode(self) -> str:
        parts = [int(self.newer), self.at.isoformat(), self.pk]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises ValidationError: a cursor is only ever taken from `next` or `previous`."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            newer, at_text, pk = json.loads(raw)
            at = parse_datetime(at_text)
        except (ValueError, TypeError, binascii.Error):
            at = None
        if at is None or at.tzinfo is None or newer not in (0, 1) or not isinstance(pk, str):
            raise ValidationError({"cursor": ["This is not a cursor of a former answer."]})
        return cls(bool(newer), at, pk)


class NewestFirstPagination(BasePagination):
    """Keyset over (a time, pk), both descending; the view's `newest_by` names the time."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.field: str = getattr(view, "newest_by", "created_at")
        size = get_page_size(request)
        text = request.query_params.get("cursor")
        self.cursor = Cursor.decode(text) if text else None
        newer = self.cursor is not None and self.cursor.newer
        rows = list(self._select(queryset, newer)[: size + 1])
        self.has_more = len(rows) > size
        self.page: list[Model] = rows[:size][::-1] if newer else rows[:size]
        return self.page

    def _select(self, queryset: QuerySet[Any], newer: bool) -> QuerySet[Any]:
        order = ("", "gt") if newer else ("-", "lt")
        ordered = queryset.order_by(f"{order[0]}{self.field}", f"{order[0]}pk")
        if self.cursor is None:
            return ordered
        beyond = Q(**{f"{self.field}__{order[1]}": self.cursor.at}) | Q(
            **{self.field: self.cursor.at, f"pk__{order[1]}": self.cursor.pk}
        )
        # The first condition says nothing new, but lets the database begin inside its index.
        try:
            return ordered.filter(beyond, **{f"{self.field}__{order[1]}e": self.cursor.at})
        except (DjangoValidationError, ValueError):
            raise ValidationError({"cursor": ["This is not a cursor of this list."]}) from None

    def get_paginated_response(self, data: Any) -> Response:
        newer = self.cursor is not None and self.cursor.newer
        has_next = newer or self.has_more
        has_previous = self.has_more if newer else self.cursor is not None
        return Response(
            {
                "results": data,
                "next": self._get_link(False) if has_next else None,
                "previous": self._get_link(True) if has_previous else None,
            }
        )

    def _get_link(self, newer: bool) -> str | None:
        if not self.page:
            return None
        row = self.page[0 if newer else -1]
        cursor = Cursor(newer, getattr(row, self.field), str(row.pk))
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor.encode())

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {
                "results": schema,
                "next": link | {"description": "Address of the page with older rows."},
                "previous": link | {"description": "Address of the page with newer rows."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Taken from `next` or `previous`, never made up.",
                "schema": {"type": "string"},
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "description": f"Rows a page: {PAGE_SIZE}, at most {MAX_PAGE_SIZE}.",
                "schema": {"type": "integer", "minimum": 1},
            },
        ]


def get_page_size(request: Request) -> int:
    """`page_size` of the query, at most MAX_PAGE_SIZE; raises ValidationError."""
    text = request.query_params.get("page_size", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValidationError({"page_size": [f"A whole number from 1 to {MAX_PAGE_SIZE}."]})
    return min(int(text), MAX_PAGE_SIZE)
