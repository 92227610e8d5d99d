"""What is known of models, in the API: prices, context length, limits."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.llm.models import Provider, ProviderModel
from apps.llm.pricing import find_prices
from apps.pipelines.targets import find_pipelines_naming

FIXED = ("provider", "name")
LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency")


class PricesSerializer(serializers.Serializer[Any]):
    """US dollars for a million tokens, by which calls are counted now."""

    input = serializers.DecimalField(max_digits=12, decimal_places=6)
    output = serializers.DecimalField(max_digits=12, decimal_places=6)


class ModelSerializer(StrictSerializer, serializers.ModelSerializer[ProviderModel]):
    """A model of a provider; without one, of the provider of the settings. Prices are US dollars
    for a million tokens, `null` where the known default holds; limits are 0 where there is none.
    """

    provider = SlugRelatedField(
        slug_field="slug", queryset=Provider.objects.all(), required=False, allow_null=True
    )
    prices = serializers.SerializerMethodField(help_text="Those that hold; null: not known.")

    class Meta:
        model = ProviderModel
        fields = [
            *("id", "provider", "name", "input_price", "output_price", "prices"),
            *("context_tokens", *LIMITS, "created_at", "updated_at"),
        ]
        read_only_fields = ["id", "created_at", "updated_at"]
        validators: ClassVar[list[Any]] = []  # the model's own sentences are better

    def get_prices(self, row: ProviderModel) -> dict[str, str] | None:
        prices = find_prices(row.name, row.provider.slug if row.provider else "")
        return (
            PricesSerializer(dict(zip(("input", "output"), prices, strict=True))).data
            if (prices)
            else None
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        known = self.instance
        if isinstance(known, ProviderModel):
            moved = [
                name
                for name in FIXED
                if attrs.get(name, getattr(known, name)) != getattr(known, name)
            ]
            if moved:
                text = "Pipelines and the ledger name a model by this: make a new one."
                raise serializers.ValidationError({name: [text] for name in moved})
        row = copy(known) if isinstance(known, ProviderModel) else ProviderModel()
        for name, value in attrs.items():
            setattr(row, name, value)
        try:
            row.validate_constraints()
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages) from None
        return attrs


class ModelViewSet(RetrieveModelMixin, ApiViewSet):
    """Models: price, context length, limits."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "llm.view_providermodel"),
        "retrieve": Needs("config:read", "llm.view_providermodel"),
        "create": Needs("config:write", "llm.add_providermodel"),
        "partial_update": Needs("config:write", "llm.change_providermodel"),
        "destroy": Needs("config:write", "llm.delete_providermodel"),
    }
    serializer_class = ModelSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    queryset = ProviderModel.objects.select_related("provider")

    def create(self, request: Request) -> Response:
        """Add a model."""
        serializer = self.get_valid()
        try:
            with transaction.atomic():
                row = serializer.save()
                self.record("providermodel.create", row)
        except IntegrityError:
            raise Conflict("Somebody added this model a moment ago.") from None
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change price, context length or limits. It holds for the next call."""
        serializer = self.get_valid(self.get_object(), partial=True)
        with transaction.atomic():
            row = serializer.save()
            self.record("providermodel.update", row, fields=sorted(serializer.validated_data))
        return Response(self.get_serializer(row).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget it: the defaults hold again. Not while a pipeline names it at its provider."""
        row: ProviderModel = self.get_object()
        if row.provider and (named := find_pipelines_naming(row.provider.slug, row.name)):
            raise Conflict(f"Pipelines name this model: {', '.join(named)}.")
        with transaction.atomic():
            self.record("providermodel.delete", row)
            row.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
