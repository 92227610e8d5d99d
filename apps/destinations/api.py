"""Destinations in the API."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from apps.api.configuration import ConfigurationViewSet
from apps.api.permissions import Needs
from apps.api.serializers import SlugOnceMixin, StrictSerializer
from apps.destinations.checks import WrongDestination, check_destination
from apps.destinations.models import Destination

CHECKED = ("kind", "url", "secret")


class DestinationSerializer(
    SlugOnceMixin, StrictSerializer, serializers.ModelSerializer[Destination]
):
    """`secret` is written and never read: `has_secret` says whether deliveries are signed."""

    url = serializers.URLField(max_length=2000, required=False, allow_blank=True, allow_null=True)
    secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=500,
        help_text="Signs each delivery (Standard Webhooks); starts with whsec_.",
    )
    has_secret = serializers.SerializerMethodField()

    class Meta:
        model = Destination
        fields = [
            "slug",
            "name",
            "kind",
            "url",
            "secret",
            "has_secret",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["created_at", "updated_at"]

    def get_has_secret(self, destination: Destination) -> bool:
        return bool(destination.secret)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs |= {name: attrs[name] or "" for name in ("url", "secret") if name in attrs}
        given = {name: getattr(self.instance, name, "") for name in CHECKED} | attrs
        try:
            check_destination(**{name: given[name] for name in CHECKED})
        except WrongDestination as error:
            raise serializers.ValidationError({error.field: error.message}) from None
        return attrs


class DestinationViewSet(ConfigurationViewSet):
    """Where results go."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "destinations.view_destination"),
        "retrieve": Needs("config:read", "destinations.view_destination"),
        "create": Needs("config:write", "destinations.add_destination"),
        "partial_update": Needs("config:write", "destinations.change_destination"),
        "destroy": Needs("config:write", "destinations.delete_destination"),
    }
    serializer_class = DestinationSerializer
    queryset = Destination.objects.all()
