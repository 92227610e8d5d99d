"""Pipelines to start from: a file each, with what to publish, sample events and a few labels."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction

from apps.destinations.models import Destination
from apps.pipelines.checks import check_config
from apps.pipelines.expressions import evaluate
from apps.pipelines.models import Pipeline, Sample

FOLDER = Path(__file__).parent
SLUGS = ("ticket-routing", "content-moderation", "lead-scoring", "email-drafting")
RESERVED_SLUG = "ready"  # as in /api/v1/pipelines/ready/: no pipeline may have it
CONFIG = ("filter", "transform", "prompt", "max_output_tokens", "output_schema", "redaction")


@dataclass(frozen=True)
class Labelled:
    """A payload, and what the answer should say about it: some of the answer's fields."""

    payload: dict[str, Any]
    expected: dict[str, Any]


@dataclass(frozen=True)
class ReadyPipeline:
    """`config` as `Pipeline.publish` takes it, but for the destination.

    `answer` is what a good model says to the first of `samples`, which are payloads.
    """

    slug: str
    name: str
    purpose: str
    model_hint: str
    config: dict[str, Any]
    samples: list[dict[str, Any]]
    answer: dict[str, Any]
    labelled: list[Labelled]
    sample_name: str  # JMESPath: what a payload is called in a list

    def start(self, author: Any, slug: str, name: str, destination: Destination) -> Pipeline:
        """A pipeline of one's own whose first version does the same, with samples and labels.

        Raises IntegrityError where the slug is taken.
        """
        with transaction.atomic():
            pipeline = Pipeline.objects.create(slug=slug, name=name)
            note = f"Started from the ready pipeline “{self.name}”."
            pipeline.publish(author, **self.config, destination=destination, note=note)
            for payload in self.samples:
                self._keep(pipeline, author, payload)
            for row in self.labelled:
                self._keep(pipeline, author, row.payload, expected=row.expected)
        return pipeline

    def _keep(self, pipeline: Pipeline, author: Any, payload: Any, **fields: Any) -> None:
        raw = json.dumps(payload, ensure_ascii=False).encode()
        name = str(evaluate(self.sample_name, payload) or "")
        Sample.keep(pipeline, author, raw, name=name, origin=Sample.Origin.READY, **fields)


@cache
def get_ready_pipelines() -> dict[str, ReadyPipeline]:
    """By slug, in the order in which they are shown. Raises WrongConfig for a file of ours that
    can't be published."""
    return {slug: _read(slug) for slug in SLUGS}


def _read(slug: str) -> ReadyPipeline:
    found = tomllib.loads((FOLDER / f"{slug}.toml").read_text(encoding="utf-8"))
    found["output_schema"] = json.loads(found["output_schema"])
    config = {name: found.pop(name) for name in CONFIG}
    check_config(**config)
    labelled = [Labelled(**row) for row in found.pop("labelled")]
    return ReadyPipeline(slug=slug, config=config, labelled=labelled, **found)
