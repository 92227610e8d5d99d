"""Backtests in the API: estimated, started, read, cancelled, gone on with."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.mixins import RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.permissions import Needs, check_access
from apps.api.problems import Conflict
from apps.api.serializers import StrictSerializer
from apps.api.viewsets import ApiViewSet
from apps.backtests.estimate import EVENTS, LABELLED, SAMPLES, estimate, find_subjects
from apps.backtests.models import MAX_EVENTS, Backtest, BacktestRow
from apps.backtests.totals import Totals, add_up
from apps.events.route_serializer import RouteSerializer
from apps.pipelines.checks import WrongConfig, check_config
from apps.pipelines.models import Pipeline

ROWS = 100
READS_BODIES = Needs("events:read", "events.view_eventbody")
AMOUNT: dict[str, Any] = {"max_digits": 12, "decimal_places": 6}


class CapSerializer(StrictSerializer):
    cap_usd = serializers.DecimalField(min_value=0, max_value=100_000, **AMOUNT)


class EstimateRequestSerializer(StrictSerializer):
    pipeline = serializers.SlugRelatedField(slug_field="slug", queryset=Pipeline.objects.all())
    on = serializers.ChoiceField(
        [EVENTS, LABELLED, SAMPLES],
        default=EVENTS,
        help_text="The newest events, the samples with a label, or all samples.",
    )
    count = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_EVENTS, help_text="How many events."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["on"] == EVENTS and "count" not in attrs:
            raise serializers.ValidationError({"count": "How many of the newest events?"})
        return attrs


class StartSerializer(EstimateRequestSerializer, CapSerializer):
    """`token` is the draft's, as it was read; the paths are JMESPath and may be empty."""

    token = serializers.CharField(max_length=32)
    label_path = serializers.CharField(required=False, allow_blank=True, max_length=500)
    answer_path = serializers.CharField(required=False, allow_blank=True, max_length=500)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        for name in ("label_path", "answer_path"):
            try:
                check_config(filter=attrs.get(name, ""))
            except WrongConfig as error:
                raise serializers.ValidationError({name: error.message}) from None
        return attrs


class EstimateSerializer(serializers.Serializer[Any]):
    """Nothing was sent. Without a price no cap can be kept, and nothing is started."""

    token = serializers.CharField()
    events = serializers.IntegerField()
    calls = serializers.IntegerField()
    reused = serializers.IntegerField()
    filtered = serializers.IntegerField()
    unusable = serializers.IntegerField()
    most_usd = serializers.DecimalField(max_digits=16, decimal_places=6)
    has_price = serializers.BooleanField()


class TotalsSerializer(serializers.Serializer[Totals]):
    rows = serializers.IntegerField()
    waiting = serializers.IntegerField()
    answered = serializers.IntegerField()
    filtered = serializers.IntegerField()
    failed = serializers.IntegerField()
    changed = serializers.IntegerField()
    reused = serializers.IntegerField()
    labelled = serializers.IntegerField()
    right = serializers.IntegerField()
    was_labelled = serializers.IntegerField()
    was_right = serializers.IntegerField()
    cost_usd = serializers.DecimalField(max_digits=16, decimal_places=6)
    latency_s = serializers.FloatField()


class BacktestSerializer(serializers.ModelSerializer[Backtest]):
    pipeline = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    created_by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)
    totals = serializers.SerializerMethodField()

    class Meta:
        model = Backtest
        fields = (
            *("id", "pipeline", "state", "reason", "cap_usd", "label_path", "answer_path"),
            *("created_by", "created_at", "totals"),
        )
        read_only_fields = fields

    @extend_schema_field(TotalsSerializer)
    def get_totals(self, backtest: Backtest) -> Any:
        return TotalsSerializer(add_up(backtest)).data


class RowSerializer(serializers.ModelSerializer[BacktestRow]):
    """`event` or `sample` has an id, and the other is null."""

    event = serializers.CharField(source="event.public_id", read_only=True, allow_null=True)
    sample = serializers.CharField(source="sample.public_id", read_only=True, allow_null=True)
    route = RouteSerializer(allow_null=True, read_only=True)

    class Meta:
        model = BacktestRow
        fields = (
            *("position", "event", "sample", "state", "old_answer", "answer", "problem", "changed"),
            *("label", "is_right", "was_right", "cost_usd", "latency_s", "is_reused"),
            "route",
        )
        read_only_fields = fields


class FromSerializer(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.IntegerField(required=False, min_value=1, max_value=10_000)}


class BacktestViewSet(RetrieveModelMixin, ApiViewSet):
    """A draft on past events: nothing is delivered, and no event changes."""

    access: ClassVar[dict[str, Needs]] = {
        "list": Needs("config:read", "pipelines.change_pipeline"),
        "retrieve": Needs("config:read", "pipelines.change_pipeline"),
        "rows": Needs("config:read", "pipelines.change_pipeline"),
        "estimate": Needs("config:read", "pipelines.change_pipeline"),
        "create": Needs("config:write", "pipelines.change_pipeline"),
        "cancel": Needs("config:write", "pipelines.change_pipeline"),
        "resume": Needs("config:write", "pipelines.change_pipeline"),
    }
    serializer_class = BacktestSerializer
    queryset = Backtest.objects.select_related("pipeline", "created_by")
    lookup_value_regex = "[0-9a-f-]{36}"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answers and labels are as good as bodies."""
        super().initial(request, *args, **kwargs)
        if self.action in self.access:
            check_access(request, READS_BODIES)

    @extend_schema(request=StartSerializer, responses={201: BacktestSerializer})
    def create(self, request: Request) -> Response:
        """Start one, with the draft as it is now."""
        asked = self._read(StartSerializer)
        pipeline, on = asked.pop("pipeline"), asked.pop("on")
        draft = pipeline.get_draft()
        subjects = find_subjects(pipeline, on, asked.pop("count", None))
        if draft.token != asked.pop("token"):
            raise Conflict(draft.describe_conflict(), code="draft_conflict")
        expected = estimate(draft.get_version(), subjects)
        if not expected.events or not expected.has_price:
            raise Conflict("Nothing to run it on, or no known price: no cap could be kept.")
        with transaction.atomic():
            backtest = Backtest.start(self.user, draft, subjects, **asked)
            self.record(
                "backtest.start", backtest, pipeline=pipeline.slug,
                on=on, events=len(subjects), cap_usd=str(backtest.cap_usd),
            )  # fmt: skip
        return Response(BacktestSerializer(backtest).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=EstimateRequestSerializer, responses=EstimateSerializer)
    @action(detail=False, methods=["post"])
    def estimate(self, request: Request) -> Response:
        """What one may cost. Prepares each request, and sends none."""
        asked = self._read(EstimateRequestSerializer)
        draft = asked["pipeline"].get_draft()
        subjects = find_subjects(asked["pipeline"], asked["on"], asked.get("count"))
        found = estimate(draft.get_version(), subjects)
        return Response(EstimateSerializer({"token": draft.token} | vars(found)).data)

    @extend_schema(parameters=[FromSerializer], responses=RowSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def rows(self, request: Request, pk: str) -> Response:
        """A hundred rows from this position on."""
        first = self.get_valid_query(FromSerializer).get("from", 1)
        rows = self.get_object().rows.filter(position__gte=first)
        found = rows.select_related("event", "sample").defer("sample__raw")
        return Response(RowSerializer(found[:ROWS], many=True).data)

    @extend_schema(request=None, responses=BacktestSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Make no further call."""
        return self._act("cancel")

    @extend_schema(request=CapSerializer, responses=BacktestSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on with the rows that wait, up to this cap in all."""
        return self._act("resume", **self._read(CapSerializer))

    def _read(self, serializer_class: Any) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def _act(self, verb: str, **asked: Any) -> Response:
        backtest: Backtest = self.get_object()
        with transaction.atomic():
            if not getattr(backtest, verb)(**asked):
                raise Conflict(f"It is {backtest.get_state_display().lower()}.")
            details = {name: str(value) for name, value in asked.items()}
            self.record(f"backtest.{verb}", backtest, **details)
        backtest.refresh_from_db()
        return Response(BacktestSerializer(backtest).data)
