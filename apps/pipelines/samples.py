"""What a draft is tried on: samples, and the newest events of the pipeline's sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.events.ids import WrongEventId, parse_public_id
from apps.events.models import Event, EventBody
from apps.llm.models import Subject
from apps.pipelines.models import Pipeline, PipelineVersion, Sample
from apps.pipelines.preview import Preview, preview
from apps.pipelines.sample_models import SampleRefused

MAX_EVENTS = 20
MAX_SOURCES = 20
EXCERPT_CHARS = 48


@dataclass(frozen=True)
class Option:
    """One that can be chosen."""

    public_id: str
    text: str


@dataclass(frozen=True)
class Choices:
    """Samples without their bodies, events newest first, and the one that is meant."""

    samples: list[Sample]
    events: list[Event]
    chosen: Subject | None

    @property
    def event(self) -> Event | None:
        return self.chosen if isinstance(self.chosen, Event) else None

    @property
    def sample(self) -> Sample | None:
        return self.chosen if isinstance(self.chosen, Sample) else None

    def get_groups(self) -> Iterator[tuple[str, list[Option]]]:
        """Headings and what stands under them; none is empty."""
        is_ready = [sample.origin == Sample.Origin.READY for sample in self.samples]
        pairs = list(zip(self.samples, is_ready, strict=True))
        groups = (
            ("Samples of this ready pipeline", [describe(each) for each, ready in pairs if ready]),
            ("Own samples", [describe(each) for each, ready in pairs if not ready]),
            ("Recent events", [describe(event) for event in self.events]),
        )
        return ((heading, options) for heading, options in groups if options)


def describe(subject: Subject) -> Option:
    if isinstance(subject, Sample):
        ending = " (labelled)" if subject.is_labelled else ""
        return Option(subject.public_id, f"{subject.name}{ending}")
    excerpt = subject.excerpt
    if len(excerpt) > EXCERPT_CHARS:
        excerpt = f"{excerpt[: EXCERPT_CHARS - 1]}…"
    return Option(subject.public_id, f"{subject.received_at:%Y-%m-%d %H:%M} UTC {excerpt}")


def find_events(pipeline: Pipeline) -> list[Event]:
    """The newest events whose bodies are still there. One quick query for each source."""
    found: list[Event] = []
    for source in pipeline.sources.all()[:MAX_SOURCES]:
        events = source.events.filter(body__isnull=False).order_by("-received_at")
        found += events[:MAX_EVENTS]
    found.sort(key=lambda event: event.received_at, reverse=True)
    return found[:MAX_EVENTS]


def choose(pipeline: Pipeline, public_id: str) -> Choices:
    """What there is, and the one that is meant: any event or sample of this pipeline, or else the
    newest event, or the first sample.
    """
    samples = list(Sample.find_kept(pipeline).defer("raw"))
    events = find_events(pipeline)
    chosen = Sample.find(pipeline, public_id) or _find_event(pipeline, public_id)
    if isinstance(chosen, Event) and chosen not in events:
        events.insert(0, chosen)
    first = events[0] if events else samples[0] if samples else None
    return Choices(samples, events, chosen or first)


def _find_event(pipeline: Pipeline, public_id: str) -> Event | None:
    try:
        pk = parse_public_id(public_id)
    except WrongEventId:
        return None
    mine = Event.objects.filter(source__pipeline=pipeline, body__isnull=False)
    return mine.filter(pk=pk).first()


def read_body(subject: Subject) -> tuple[bytes, str] | None:
    """Bytes and content type; None where they are gone."""
    if isinstance(subject, Sample):
        raw = bytes(subject.raw)
        return (raw, subject.content_type) if raw else None
    body = EventBody.objects.filter(event=subject).first()
    return (bytes(body.raw), body.content_type) if body else None


def pin_event(pipeline: Pipeline, author: Any, public_id: str, **fields: Any) -> Sample:
    """Keep a copy of an event's body, longer than the event itself. Raises SampleRefused."""
    event = _find_event(pipeline, public_id)
    body = read_body(event) if event else None
    if event is None or body is None:
        raise SampleRefused("There is no such event with its body in this pipeline.")
    raw, content_type = body
    about = {"name": describe(event).text, "origin": Sample.Origin.EVENT} | fields
    return Sample.keep(pipeline, author, raw, content_type=content_type, **about)


def try_on(version: PipelineVersion, subject: Subject | None) -> Preview | None:
    """None where there is nothing to try it on, or its body is gone."""
    body = read_body(subject) if subject else None
    return preview(version, *body) if body else None
