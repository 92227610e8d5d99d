"""What request bodies have in common."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a mistyped name must not be a silent default."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise serializers.ValidationError({name: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)


def read_filter(request: Request, serializer_class: type[StrictSerializer]) -> dict[str, Any]:
    """Which ones are meant, from a body. Raises ValidationError, also where there is no body: one
    that was forgotten, or sent without Content-Length, must not mean all.
    """
    if request.stream is None:
        raise serializers.ValidationError(
            "Send a filter in the body, with Content-Length: {} is all."
        )
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class SlugOnceMixin(serializers.Serializer[Any]):
    """A slug is part of addresses that others know: given once, never changed."""

    def validate_slug(self, slug: str) -> str:
        if self.instance is not None and slug != self.instance.slug:
            raise serializers.ValidationError("A slug can't be changed: make a new object.")
        return slug
