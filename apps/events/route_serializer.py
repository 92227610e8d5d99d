"""Which model answered, in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class PassedOverSerializer(serializers.Serializer[Any]):
    """A model that was down, and the machine word of why."""

    provider = serializers.CharField(help_text="Slug; empty is the provider of the settings.")
    model = serializers.CharField()
    code = serializers.CharField()


class RouteSerializer(serializers.Serializer[Any]):
    """The model that answered or decided, and those that were passed over before."""

    provider = serializers.CharField(help_text="Slug; empty is the provider of the settings.")
    model = serializers.CharField()
    passed_over = PassedOverSerializer(many=True)
