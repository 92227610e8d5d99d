"""A sample event of each ready pipeline goes the whole way."""

from __future__ import annotations

import json
from collections.abc import Callable

from apps.destinations.models import Destination, InboxItem
from apps.pipelines.json_schema import Schema
from apps.pipelines.ready import get_ready_pipelines
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.workers.conftest import Rig, wait_for_status


def test_a_sample_is_answered_and_delivered(
    rig: Rig, inbox: Destination, fake_llm: FakeLLM, post: Callable[..., str]
) -> None:
    posted = {}
    for slug, ready in get_ready_pipelines().items():
        pipeline = ready.start(None, slug, ready.name, inbox)
        source = Source.objects.create(slug=slug, name=slug, scheme="github", pipeline=pipeline)
        posted[slug] = post(source, json.dumps(ready.samples[0]).encode())
    rig.start_worker()
    rig.start_dispatcher()
    for slug, event_id in posted.items():
        event = wait_for_status(event_id, "delivered")
        Schema(get_ready_pipelines()[slug].config["output_schema"]).check(event.answer)
        assert InboxItem.objects.filter(event_id=event.pk).exists()
    assert fake_llm.calls.total() == len(posted)
