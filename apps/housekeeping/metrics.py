"""The six figures for Prometheus, read from the newest sample: a scrape costs one small query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db import DatabaseError
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from apps.approvals import figures as approval_figures
from apps.dashboard.models import StatusSample
from apps.llm import batch_figures
from apps.llm.budget_usage import get_usages
from apps.streams.spool.status import get_status

STALE_AFTER = timedelta(seconds=60)
FIGURES = (
    ("pipeline_error_rate", "Failed attempts / attempts, last 5 minutes", "error_rate"),
    ("pipeline_dead_letters", "Events that failed for good", "dead_letters"),
    (
        "pipeline_workflow_success_rate",
        "Events that ended well / events that ended, last 5 minutes",
        "workflow_success_rate",
    ),
    ("pipeline_events_held", "Events that wait for a person", "held"),
)


def get_sample() -> StatusSample | None:
    """The newest sample, unless it is stale: a figure that nobody knows is absent, never old."""
    try:
        sample = StatusSample.objects.order_by("-at").first()
    except DatabaseError:
        return None
    fresh = sample is not None and timezone.now() - sample.at < STALE_AFTER
    return sample if fresh else None


def get_gauge(
    name: str, text: str, values: Iterable[tuple[dict[str, str], float | None]]
) -> Metric:
    """A gauge with one value for each set of labels; unknown values are left out."""
    rows = list(values)
    gauge = GaugeMetricFamily(name, text, labels=list(rows[0][0]) if rows else [])
    for labels, value in rows:
        if value is not None:
            gauge.add_metric(list(labels.values()), value)
    return gauge


class FiguresCollector(Collector):
    """Asks the database at each scrape; says nothing when it is down."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        sample = get_sample()
        if sample is None:
            return
        for name, text, field in FIGURES:
            yield get_gauge(name, text, [({}, getattr(sample, field))])
        yield get_gauge(
            "pipeline_queue_length",
            "Entries of the queue not settled yet",
            [({"shard": row["shard"]}, row["length"]) for row in sample.shards],
        )
        yield get_gauge(
            "pipeline_consumer_lag",
            "Entries of the queue not read yet",
            [({"shard": row["shard"]}, row["lag"]) for row in sample.shards],
        )
        yield get_gauge(
            "pipeline_llm_latency_seconds",
            "From intent to answer, calls of the last 5 minutes",
            [
                ({"quantile": "0.5"}, sample.llm_latency_s),
                ({"quantile": "0.95"}, sample.llm_latency_p95_s),
            ],
        )
        yield get_gauge(
            "pipeline_part_up",
            "1 where the part works",
            [({"part": part}, float(health["ok"])) for part, health in sample.parts.items()],
        )
        yield get_gauge(
            "pipeline_llm_breaker_open",
            "1 for each model whose circuit breaker is open",
            [
                ({"provider": row["provider"], "model": row["model"]}, 1.0)
                for row in sample.breakers
            ],
        )
        yield get_gauge(
            "pipeline_queue_durable",
            "1 where an acknowledged event is on disk",
            [({"shard": row["shard"]}, float(row["durable"])) for row in sample.shards],
        )


class SpoolCollector(Collector):
    """What waits in SPOOL_DIR, over all processes that share it: sum it over machines."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        spool = get_status()
        if spool is None:
            return
        for name, text, value in (
            ("pipeline_spool_events", "Events that wait in the local spool", spool.events),
            ("pipeline_spool_bytes", "Bytes of the local spool", spool.bytes),
            ("pipeline_spool_takes", "1 where the local spool takes events", spool.takes),
        ):
            yield get_gauge(name, text, [({}, float(value))])


class BudgetCollector(Collector):
    """Asks the database at each scrape; says nothing when it is down."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            usages = get_usages(counts=False)
        except DatabaseError:
            return
        labels = [
            {"budget": usage.budget.label, "period": str(usage.budget.period)} for usage in usages
        ]
        yield get_gauge(
            "pipeline_budget_used_ratio",
            "Spent and reserved / limit, in the present day or month (UTC)",
            [(label, usage.ratio) for label, usage in zip(labels, usages, strict=True)],
        )
        yield get_gauge(
            "pipeline_budget_blocks",
            "1 where events wait for the budget",
            [(label, float(usage.waiting)) for label, usage in zip(labels, usages, strict=True)],
        )


class BatchCollector(Collector):
    """Asks the database at each scrape; says nothing when it is down."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            calls, unknown = batch_figures.count_calls(), batch_figures.count_unknown()
            due_at, faulty = batch_figures.get_first_due(), batch_figures.count_faulty()
        except DatabaseError:
            return
        yield get_gauge(
            "pipeline_llm_batch_calls",
            "Calls that wait for a batch (gathered) or in one (sent)",
            [({"state": state}, float(count)) for state, count in calls.items()],
        )
        yield get_gauge(
            "pipeline_llm_batches_unknown",
            "Batches of which nobody knows what became of them",
            [({}, float(unknown))],
        )
        yield get_gauge(
            "pipeline_llm_batches_faulty",
            "Open batches at which our own code fails",
            [({}, float(faulty))],
        )
        yield get_gauge(
            "pipeline_llm_batch_due_timestamp_seconds",
            "When the first answer of an open batch must be there, Unix time",
            [({}, due_at.timestamp() if due_at else None)],
        )


class ApprovalCollector(Collector):
    """Asks the database at each scrape; says nothing when it is down."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            count, oldest, deadline = approval_figures.count_waiting()
        except DatabaseError:
            return
        age_s = (timezone.now() - oldest).total_seconds() if oldest else 0.0
        for name, text, value in (
            ("pipeline_approvals_waiting", "Answers that wait for a person's yes", float(count)),
            ("pipeline_approval_oldest_seconds", "How long the oldest of them waits", age_s),
            (
                "pipeline_approval_deadline_timestamp_seconds",
                "When the time to decide on the next runs out, Unix time",
                deadline.timestamp() if deadline else None,
            ),
        ):
            yield get_gauge(name, text, [({}, value)])


COLLECTORS = (
    FiguresCollector(),
    SpoolCollector(),
    BudgetCollector(),
    BatchCollector(),
    ApprovalCollector(),
)
for collector in COLLECTORS:
    REGISTRY.register(collector)


def get_registry() -> CollectorRegistry:
    """What this process shows: with `web --workers N`, the sums of all of them and the figures."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in COLLECTORS:
        registry.register(collector)
    return registry
