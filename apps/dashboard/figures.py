"""The six figures of the mission, measured over the last five minutes."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from apps.dashboard.models import StatusSample
from apps.events.models import Attempt, Event, Status
from apps.llm.breaker import find_open
from apps.llm.models import LLMCall
from apps.streams.depth import get_depths
from apps.streams.durability import get_durability
from apps.streams.entries import ShardDepth
from apps.streams.errors import QueueError

WINDOW = timedelta(minutes=5)
LATENCIES_READ = 1000  # newest calls that the quantiles are taken from


@dataclass(frozen=True)
class Latency:
    """Seconds from intent to answer: median and 95th percentile; None without a call."""

    p50_s: float | None
    p95_s: float | None


def measure_latency(since: datetime) -> Latency:
    """Latency of the calls answered since then; in a batch they may take hours."""
    calls = LLMCall.objects.filter(answered_at__gte=since, batch=None).order_by("-answered_at")
    pairs = calls.values_list("intended_at", "answered_at")[:LATENCIES_READ]
    seconds = [(end - start).total_seconds() for start, end in pairs if end]
    if not seconds:
        return Latency(None, None)
    if len(seconds) == 1:
        return Latency(seconds[0], seconds[0])
    return Latency(statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1])


def measure_error_rate(since: datetime) -> float | None:
    """Failed attempts / attempts since then; None without an attempt."""
    attempts = Attempt.objects.filter(finished_at__gte=since).exclude(
        outcome=Attempt.Outcome.WAITED
    )
    total = attempts.count()
    failed = attempts.filter(
        outcome__in=[Attempt.Outcome.FAILED, Attempt.Outcome.PERMANENT]
    ).count()
    return failed / total if total else None


def measure_success_rate(since: datetime) -> float | None:
    """Events that ended well / events that ended, since then; None where none ended."""
    ended = Event.objects.filter(changed_at__gte=since)
    well = ended.filter(status__in=[Status.DELIVERED, Status.FILTERED]).count()
    dead = ended.filter(status=Status.DEAD).count()
    return well / (well + dead) if well + dead else None


def add_up(numbers: list[int | None]) -> int | None:
    """Their sum; None where one of them is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def get_shards(depths: list[ShardDepth]) -> list[dict[str, object]]:
    """Each shard's figures as they are stored: unknown ones are None."""
    durable = {shard.shard: shard.ok for shard in get_durability()}
    return [
        {
            "shard": shard.shard,
            "length": shard.depth.length if shard.depth else None,
            "lag": shard.depth.lag if shard.depth else None,
            "buried": shard.depth.buried if shard.depth else None,
            "durable": durable.get(shard.shard, False),
            "draining": shard.is_draining,
        }
        for shard in depths
    ]


def get_breakers() -> list[dict[str, str]]:
    """The open circuit breakers as they are stored; none where the queue server is down."""
    try:
        return [found.as_json() for found in find_open()]
    except QueueError:
        return []


def measure(parts: dict[str, dict[str, object]]) -> StatusSample:
    """A new sample, not saved. `parts` is the health that health.get_parts() found."""
    since = timezone.now() - WINDOW
    depths = get_depths()
    minute_ago = timezone.now() - timedelta(minutes=1)
    delivered = Event.objects.filter(status=Status.DELIVERED, changed_at__gte=minute_ago)
    latency = measure_latency(since)
    return StatusSample(
        queue_length=add_up([row.depth.length if row.depth else None for row in depths]),
        consumer_lag=add_up([row.depth.lag if row.depth else None for row in depths]),
        llm_latency_s=latency.p50_s,
        llm_latency_p95_s=latency.p95_s,
        error_rate=measure_error_rate(since),
        dead_letters=Event.objects.filter(status=Status.DEAD).count(),
        workflow_success_rate=measure_success_rate(since),
        delivered_per_minute=float(delivered.count()),
        held=Event.objects.filter(status=Status.HELD).count(),
        parts=parts,
        shards=get_shards(depths),
        breakers=get_breakers(),
    )
