"""What a backtest may cost, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.backtests.models import MAX_EVENTS
from apps.events.models import Event
from apps.llm.chain import build_chain, get_most_usd
from apps.llm.models import Subject
from apps.llm.pricing import has_price
from apps.llm.trial import find_known
from apps.pipelines.models import Pipeline, PipelineVersion, Sample
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import PreparedRequest, prepare
from apps.pipelines.samples import read_body

EVENTS, LABELLED, SAMPLES = "events", "labelled", "samples"  # what it can be run on


@dataclass
class Estimate:
    """Of so many events or samples; `calls` would be paid, at most `most_usd` in all; `reused` are
    answered already.
    """

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


def find_subjects(pipeline: Pipeline, on: str, count: int | None = None) -> Sequence[Subject]:
    """The newest events, or the samples that are kept: all, or those with a label."""
    if on == EVENTS:
        return find_events(pipeline, count or MAX_EVENTS)
    return list(Sample.find_kept(pipeline, labelled=on == LABELLED))


def estimate(version: PipelineVersion, subjects: Sequence[Subject]) -> Estimate:
    """Prepares each request, and sends none."""
    total = Estimate(events=len(subjects))
    for subject in subjects:
        body = read_body(subject)
        try:
            request = prepare(version, *body) if body else None
        except PrepareError:
            total.unusable += 1
            continue
        if request is None:
            total.filtered += 1
        else:
            _add(total, subject, build_chain(version, request))
    return total


def _add(total: Estimate, subject: Subject, chain: list[PreparedRequest]) -> None:
    if find_known(subject, chain[:1], ""):
        total.reused += 1
        return
    total.calls += 1
    total.most_usd += get_most_usd(chain)
    total.has_price &= all(has_price(link.model, link.provider) for link in chain)
