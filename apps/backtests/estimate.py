"""What a backtest may cost, before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from apps.backtests.models import MAX_EVENTS
from apps.events.models import Event, EventBody
from apps.llm.chain import build_chain, get_most_usd
from apps.llm.pricing import has_price
from apps.llm.trial import find_known
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import PreparedRequest, prepare


@dataclass
class Estimate:
    """`calls` would be paid, at most `most_usd` in all; `reused` are answered already."""

    events: int = 0
    calls: int = 0
    reused: int = 0
    filtered: int = 0
    unusable: int = 0
    most_usd: Decimal = Decimal(0)
    has_price: bool = True


def find_events(pipeline: Pipeline, count: int) -> list[Event]:
    """The newest `count` events of the pipeline's sources whose bodies are still there."""
    found: list[Event] = []
    count = min(count, MAX_EVENTS)
    for source in pipeline.sources.all():
        events = source.events.filter(body__isnull=False).order_by("-received_at")
        found += events[:count]
    found.sort(key=lambda event: event.received_at, reverse=True)
    return found[:count]


def estimate(version: PipelineVersion, events: list[Event]) -> Estimate:
    """Prepares each request, and sends none."""
    total = Estimate(events=len(events))
    for event in events:
        body = EventBody.objects.filter(event=event).first()
        try:
            request = prepare(version, bytes(body.raw), body.content_type) if body else None
        except PrepareError:
            total.unusable += 1
            continue
        if request is None:
            total.filtered += 1
        else:
            _add(total, event, build_chain(version, request))
    return total


def _add(total: Estimate, event: Event, chain: list[PreparedRequest]) -> None:
    if find_known(event, chain[:1], ""):
        total.reused += 1
        return
    total.calls += 1
    total.most_usd += get_most_usd(chain)
    total.has_price &= all(has_price(link.model, link.provider) for link in chain)
