"""What was spent in a period: by day, source, pipeline and model, and what was not spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, F, Max, QuerySet, Sum, Value, When
from django.db.models.functions import TruncDate
from django.utils import timezone

from apps.llm.models import CostHour, DuplicateHour, LLMCall
from apps.llm.pricing import MICRO_USD
from apps.llm.provider_models import SETTINGS_SLUG

PERIODS = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "month": "This month"}
DEFAULT_PERIOD = "30d"
SUMS = (
    "calls",
    "events",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "reused",
    "saved_usd",
    "batch_saved_usd",
)
DELETED, SAMPLES = "deleted", "tried on samples"
SOURCE = Case(When(on_samples=True, then=Value(SAMPLES)), default=F("source__name"))


@dataclass(frozen=True)
class Cost:
    """Sums of one day, source, pipeline, model or of all. Money in US dollars."""

    name: str = ""
    slug: str = ""
    provider: str = ""  # of a model: a slug, or "settings"
    calls: int = 0
    events: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    reused: int = 0
    saved_usd: Decimal = Decimal(0)
    batch_saved_usd: Decimal = Decimal(0)
    duplicates: int = 0
    duplicates_usd: Decimal = Decimal(0)  # an estimate: at the source's cost per event

    @property
    def per_event_usd(self) -> Decimal | None:
        """None without an event: unknown, not free."""
        return self.cost_usd / self.events if self.events else None


@dataclass(frozen=True)
class DayCost:
    """One day (UTC)."""

    day: date
    cost_usd: Decimal
    calls: int


@dataclass(frozen=True)
class Report:
    """A period, its last day included. `unknown` counts calls that may have been paid besides."""

    first: date
    last: date
    total: Cost
    days: list[DayCost]
    sources: list[Cost]
    pipelines: list[Cost]
    models: list[Cost]
    unknown: int
    newest: datetime | None  # the hour up to which calls were added up

    @property
    def is_empty(self) -> bool:
        return not (self.total.calls or self.total.reused or self.unknown)


def get_report(period: str) -> Report:
    """`period` is one of PERIODS; today (UTC) is its last day."""
    first, last = get_days(period)
    since = datetime.combine(first, time.min, UTC)
    hours = CostHour.objects.filter(hour__gte=since)
    sources = add_duplicates(read_groups(hours, SOURCE, "source__slug"), since)
    return Report(
        first=first,
        last=last,
        total=replace(
            read_total(hours),
            duplicates=sum(cost.duplicates for cost in sources),
            duplicates_usd=sum((cost.duplicates_usd for cost in sources), Decimal(0)),
        ),
        days=read_days(hours, first, last),
        sources=sources,
        pipelines=read_groups(hours, "pipeline__name", "pipeline__slug"),
        models=read_models(hours),
        unknown=count_unknown(since),
        newest=hours.aggregate(at=Max("hour"))["at"],
    )


def get_days(period: str) -> tuple[date, date]:
    """The first and the last day."""
    today = timezone.now().astimezone(UTC).date()
    if period == "month":
        return today.replace(day=1), today
    return today - timedelta(days=int(period.removesuffix("d")) - 1), today


def read_total(hours: QuerySet[CostHour]) -> Cost:
    sums: dict[str, Any] = hours.aggregate(**{name: Sum(name) for name in SUMS})
    return Cost(**{name: tidy(value) for name, value in sums.items() if value is not None})


def read_days(hours: QuerySet[CostHour], first: date, last: date) -> list[DayCost]:
    """Every day, also those without a call."""
    rows = (
        hours.annotate(day=TruncDate("hour", tzinfo=UTC))
        .values_list("day")
        .annotate(cost=Sum("cost_usd"), number=Sum("calls"))
        .order_by()
    )
    found = {day: DayCost(day, tidy(cost), calls) for day, cost, calls in rows}
    days = [first + timedelta(days=index) for index in range((last - first).days + 1)]
    return [found.get(day) or DayCost(day, Decimal(0), 0) for day in days]


def read_groups(hours: QuerySet[CostHour], name: Any, slug: str) -> list[Cost]:
    """The dearest first."""
    sums = {f"sum_{each}": Sum(each) for each in SUMS}
    named = hours.annotate(shown_name=F(name) if isinstance(name, str) else name)
    rows = named.values_list("shown_name", slug).annotate(**sums).order_by("shown_name")
    costs = [
        Cost(label or DELETED, key or "", **dict(zip(SUMS, map(tidy, numbers), strict=True)))
        for label, key, *numbers in rows
    ]
    return sorted(costs, key=lambda cost: cost.cost_usd, reverse=True)


def read_models(hours: QuerySet[CostHour]) -> list[Cost]:
    """The same for each model of each provider: two of one name are two prices."""
    costs = [
        replace(cost, provider=provider or SETTINGS_SLUG)
        for provider in hours.order_by("provider").values_list("provider", flat=True).distinct()
        for cost in read_groups(hours.filter(provider=provider), "model", "model")
    ]
    return sorted(costs, key=lambda cost: cost.cost_usd, reverse=True)


def add_duplicates(sources: list[Cost], since: datetime) -> list[Cost]:
    """The repeats that each source sent, and what its events cost on average times those."""
    counts = dict(
        DuplicateHour.objects.filter(hour__gte=since)
        .values_list("source__slug")
        .annotate(count=Sum("duplicates"))
        .order_by()
    )
    return [
        replace(
            cost,
            duplicates=(count := counts.get(cost.slug, 0)),
            duplicates_usd=tidy((cost.per_event_usd or Decimal(0)) * count),
        )
        for cost in sources
    ]


def count_unknown(since: datetime) -> int:
    """Calls whose payment nobody knows."""
    calls = LLMCall.objects.filter(answered_at=None, state=LLMCall.State.UNKNOWN)
    return calls.filter(intended_at__gte=since).count()


CSV_HEAD = ("day (UTC)", "source", "pipeline", "model", "provider", *SUMS)


def read_lines(period: str) -> Iterator[tuple[Any, ...]]:
    """One line for each day, source, pipeline and model, in the order of CSV_HEAD."""
    since = datetime.combine(get_days(period)[0], time.min, UTC)
    rows = (
        CostHour.objects.filter(hour__gte=since)
        .annotate(day=TruncDate("hour", tzinfo=UTC))
        .annotate(source_name=SOURCE)
        .values_list("day", "source_name", "pipeline__name", "model", "provider")
        .annotate(**{f"sum_{each}": Sum(each) for each in SUMS})
        .order_by("day", "source_name", "pipeline__name", "model", "provider")
    )
    for day, source, pipeline, model, provider, *sums in rows.iterator():
        names = (source or DELETED, pipeline or DELETED, model, provider or SETTINGS_SLUG)
        yield (day, *names, *map(tidy, sums))


def tidy(number: Any) -> Any:
    """SQLite adds decimals as floats: no more places than a price has."""
    return number.quantize(MICRO_USD) if isinstance(number, Decimal) else number
