"""Costs in the API: the numbers of the page."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs
from apps.api.viewsets import ApiViewSet
from apps.llm.cost_report import DEFAULT_PERIOD, PERIODS, Cost, DayCost, Report, get_report
from apps.llm.models import CostHour


class MoneyField(serializers.DecimalField):
    """US dollars, six places."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=24, decimal_places=6, **kwargs)


class SumsSerializer(serializers.Serializer[Cost]):
    """What the answered calls of a period add up to."""

    calls = serializers.IntegerField(help_text="Answered, and so paid.")
    events = serializers.IntegerField(help_text="Events they were made for.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_usd = MoneyField()
    per_event_usd = MoneyField(allow_null=True, help_text="Null without an event.")
    reused = serializers.IntegerField(help_text="Answers on record that were used again, free.")
    saved_usd = MoneyField(help_text="What those answers had cost.")
    batch_saved_usd = MoneyField(help_text="Less than the list price, by calls in batches.")


class TotalSerializer(SumsSerializer):
    """All of them, and what repeats would have cost."""

    duplicates = serializers.IntegerField(help_text="Repeats of events, recognised at the door.")
    duplicates_usd = MoneyField(help_text="An estimate: at each source's cost per event.")


class CostSerializer(SumsSerializer):
    """The same for one source, pipeline or model."""

    name = serializers.CharField()
    slug = serializers.CharField(allow_blank=True, help_text="Empty: deleted since.")


class ModelCostSerializer(CostSerializer):
    """The same for one model at one provider."""

    provider = serializers.CharField(help_text="Its slug, or `settings`.")


class DaySerializer(serializers.Serializer[DayCost]):
    """One day (UTC)."""

    day = serializers.DateField()
    cost_usd = MoneyField()
    calls = serializers.IntegerField()


class CostsSerializer(serializers.Serializer[Report]):
    """A period, by day and by what the money went for; the dearest first."""

    first = serializers.DateField(help_text="The first day (UTC).")
    last = serializers.DateField(help_text="The last day (UTC): today.")
    total = TotalSerializer()
    unknown = serializers.IntegerField(
        help_text="Calls of unknown outcome: they may have been paid, and are not added up."
    )
    days = DaySerializer(many=True)
    sources = CostSerializer(many=True)
    pipelines = CostSerializer(many=True)
    models = ModelCostSerializer(many=True)


class CostsQuerySerializer(serializers.Serializer[Any]):
    """Which period."""

    period = serializers.ChoiceField(choices=list(PERIODS), default=DEFAULT_PERIOD)


class CostViewSet(ApiViewSet):
    """What the calls have cost."""

    access: ClassVar[dict[str, Needs]] = {"list": Needs("events:read", "llm.view_costhour")}
    serializer_class = CostsSerializer
    queryset = CostHour.objects.none()
    pagination_class = None

    @extend_schema(
        operation_id="costs_retrieve",
        parameters=[CostsQuerySerializer],
        responses=forced_singular_serializer(CostsSerializer),  # type: ignore[no-untyped-call]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A period that ends today, added up within the last minute."""
        period = self.get_valid_query(CostsQuerySerializer)["period"]
        return Response(CostsSerializer(get_report(period)).data)
