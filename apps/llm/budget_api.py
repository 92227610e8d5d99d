"""Budgets in the API: what the page can do, by the same rules."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.relations import SlugRelatedField
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.llm.budget_usage import Usage, get_usage
from apps.llm.budget_watch import let_go_on_soon
from apps.llm.models import Budget
from apps.pipelines.models import Pipeline
from apps.sources.models import Source

FIXED = ("period", "source", "pipeline")


class UsageSerializer(serializers.Serializer[Usage]):
    """The present period."""

    starts_on = serializers.DateField(source="period.starts_on", help_text="UTC.")
    next_start = serializers.DateTimeField(help_text="When the next period begins.")
    spent_usd = serializers.DecimalField(max_digits=18, decimal_places=6)
    reserved_usd = serializers.DecimalField(
        max_digits=18, decimal_places=6, help_text="What calls under way may cost yet."
    )
    percent = serializers.IntegerField(help_text="Spent and reserved, of the limit.")
    waiting = serializers.IntegerField(help_text="Events that are held for this budget.")


class BudgetSerializer(StrictSerializer, serializers.ModelSerializer[Budget]):
    """A limit for one source, one pipeline or, where neither is named, for all calls."""

    limit_usd = serializers.DecimalField(max_digits=12, decimal_places=6, min_value=0)
    source = SlugRelatedField(  # type: ignore[assignment]
        slug_field="slug", queryset=Source.objects.all(), required=False, allow_null=True
    )
    pipeline = SlugRelatedField(
        slug_field="slug", queryset=Pipeline.objects.all(), required=False, allow_null=True
    )
    usage = serializers.SerializerMethodField()

    class Meta:
        model = Budget
        fields = [
            *("id", "period", "limit_usd", "source", "pipeline"),
            *("usage", "created_at", "updated_at"),
        ]
        read_only_fields = ["id", "created_at", "updated_at"]
        validators: ClassVar[list[Any]] = []  # the model's own sentences are better

    @extend_schema_field(UsageSerializer)
    def get_usage(self, budget: Budget) -> Any:
        return UsageSerializer(get_usage(budget)).data

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None:
            if changed := [name for name in FIXED if name in attrs and self._differs(name, attrs)]:
                text = "What a budget counts stays: make a new one."
                raise serializers.ValidationError({name: [text] for name in changed})
            return attrs
        try:
            Budget(**attrs).validate_constraints()
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.messages) from None
        return attrs

    def _differs(self, name: str, attrs: dict[str, Any]) -> bool:
        return bool(getattr(self.instance, name) != attrs[name])


class BudgetViewSet(RetrieveModelMixin, ApiViewSet):
    """Limits of what calls may cost, each day or month (UTC)."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "llm.view_budget"),
        "retrieve": Needs("config:read", "llm.view_budget"),
        "create": Needs("config:write", "llm.add_budget"),
        "partial_update": Needs("config:write", "llm.change_budget"),
        "destroy": Needs("config:write", "llm.delete_budget"),
    }
    serializer_class = BudgetSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    queryset = Budget.objects.select_related("source", "pipeline")

    def create(self, request: Request) -> Response:
        """Add a budget. What its period has cost already counts."""
        serializer = self.get_valid()
        try:
            with transaction.atomic():
                budget = serializer.save()
                self.record("budget.create", budget)
        except IntegrityError:
            raise Conflict("Somebody made this budget a moment ago.") from None
        return Response(self.get_serializer(budget).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change the limit. Events that wait go on at once where it is high enough."""
        serializer = self.get_valid(self.get_object(), partial=True)
        with transaction.atomic():
            budget = serializer.save()
            self.record("budget.update", budget, fields=sorted(serializer.validated_data))
            let_go_on_soon()
        return Response(self.get_serializer(budget).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete it; events that wait for it go on at once."""
        budget: Budget = self.get_object()
        with transaction.atomic():
            self.record("budget.delete", budget)
            budget.delete()
            let_go_on_soon()
        return Response(status=status.HTTP_204_NO_CONTENT)
