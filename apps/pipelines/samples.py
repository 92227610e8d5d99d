"""Real events to try a draft on: the newest of the pipeline's sources."""

from __future__ import annotations

from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import Event, EventBody
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.preview import Preview, preview

MAX_SAMPLES = 20
MAX_SOURCES = 20


def find_samples(pipeline: Pipeline) -> list[Event]:
    """The newest events whose bodies are still there. One quick query for each source."""
    found: list[Event] = []
    for source in pipeline.sources.all()[:MAX_SOURCES]:
        events = source.events.filter(body__isnull=False).order_by("-received_at")
        found += events[:MAX_SAMPLES]
    found.sort(key=lambda event: event.received_at, reverse=True)
    return found[:MAX_SAMPLES]


def choose(pipeline: Pipeline, public_id: str) -> tuple[list[Event], Event | None]:
    """The samples and the one that is meant: any event of this pipeline, or else the newest."""
    samples = find_samples(pipeline)
    for event in samples:
        if event.public_id == public_id:
            return samples, event
    chosen = _find(pipeline, public_id)
    if chosen:
        return [chosen, *samples], chosen
    return samples, samples[0] if samples else None


def _find(pipeline: Pipeline, public_id: str) -> Event | None:
    try:
        pk = parse_public_id(public_id)
    except WrongEventId:
        return None
    mine = Event.objects.filter(source__pipeline=pipeline, body__isnull=False)
    return mine.filter(pk=pk).first()


def try_on(version: PipelineVersion, event: Event | None) -> Preview | None:
    """None where there is no event, or its body is gone."""
    body = EventBody.objects.filter(event=event).first() if event else None
    return preview(version, bytes(body.raw), body.content_type) if body else None
