"""Providers in the API: what the page can do, by the same rules."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.configuration import ConfigurationViewSet
from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import SlugOnceMixin, StrictSerializer
from apps.llm.endpoints import to_endpoint
from apps.llm.models import Provider
from apps.llm.provider import LLMError, list_models
from apps.llm.provider_checks import (
    MAX_KEY_CHARS,
    WrongProvider,
    check_slug,
    choose_key,
    find_warnings,
    read_base_url,
    test,
)
from apps.pipelines.targets import find_pipelines_naming


class ProviderSerializer(SlugOnceMixin, StrictSerializer, serializers.ModelSerializer[Provider]):
    """`api_key` is written and never read. It belongs to the host of `base_url`: another host asks
    for it again. Left out, the stored one stays; empty, it is forgotten.
    """

    base_url = serializers.CharField(max_length=500)
    api_key = serializers.CharField(
        write_only=True, required=False, allow_blank=True, max_length=MAX_KEY_CHARS
    )
    skip_test = serializers.BooleanField(
        write_only=True,
        required=False,
        default=False,
        help_text="Save also where the provider does not answer which models it has.",
    )
    has_key = serializers.BooleanField(read_only=True)
    warnings = serializers.SerializerMethodField(
        help_text="Sentences about what may be saved, and should not stay so."
    )

    class Meta:
        model = Provider
        fields = [
            *("slug", "name", "base_url", "api_key", "skip_test", "has_key", "in_background"),
            *("warnings", "created_at", "updated_at"),
        ]
        read_only_fields = ["created_at", "updated_at"]

    def get_warnings(self, provider: Provider) -> list[str]:
        return find_warnings(provider.base_url, provider.get_key())

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        skips_test = attrs.pop("skip_test", False)
        stored = self.instance if isinstance(self.instance, Provider) else None
        try:
            check_slug(attrs.get("slug", ""))
            if stored is None or "base_url" in attrs or "api_key" in attrs:
                given = attrs.get("base_url") or (stored.base_url if stored else "")
                attrs["base_url"] = read_base_url(given)
                attrs["api_key"] = choose_key(stored, attrs["base_url"], attrs.get("api_key"))
                if not skips_test:
                    test(attrs["base_url"], attrs["api_key"])
        except WrongProvider as error:
            raise serializers.ValidationError({error.field: error.message}) from None
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Provider:
        return self.update(Provider(), validated_data)

    def update(self, instance: Provider, validated_data: dict[str, Any]) -> Provider:
        key = validated_data.pop("api_key", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        if key is not None:
            instance.set_key(key)
        instance.save()
        return instance


class FoundModelsSerializer(serializers.Serializer[Any]):
    """What a provider answered when it was tested."""

    models = serializers.ListField(child=serializers.CharField())


class ProviderViewSet(ConfigurationViewSet):
    """Where models are asked, beside the provider of the settings."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "llm.view_provider"),
        "retrieve": Needs("config:read", "llm.view_provider"),
        "create": Needs("config:write", "llm.add_provider"),
        "partial_update": Needs("config:write", "llm.change_provider"),
        "destroy": Needs("config:write", "llm.delete_provider"),
        "test": Needs("config:write", "llm.change_provider"),
    }
    serializer_class = ProviderSerializer
    queryset = Provider.objects.all()

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, slug: str) -> Response:
        """Delete it and what is known of its models; not while a pipeline's version names it."""
        if named := find_pipelines_naming(slug):
            raise Conflict(f"Pipelines name this provider: {', '.join(named)}.")
        return super().destroy(request, slug)

    @extend_schema(request=None, responses=FoundModelsSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, slug: str) -> Response:
        """Ask it which models it has: one GET, which costs nothing."""
        try:
            found = list_models(to_endpoint(self.get_object()))
        except LLMError as error:
            raise Conflict(str(error)) from None
        return Response({"models": found})
