"""What the model must not see, on one event's whole way."""

from __future__ import annotations

import json
from collections.abc import Callable

from apps.destinations.models import Destination, InboxItem
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.workers.conftest import Rig, wait_for_status
from tests.workers.test_one_event import read_history

MAIL = "rosa@example.com"
SCHEMA = {
    "type": "object",
    "properties": {"reply_to": {"type": "string"}},
    "required": ["reply_to"],
    "additionalProperties": False,
}


def test_a_value_is_delivered_and_seen_by_neither_the_model_nor_temporal(
    rig: Rig,
    helpdesk: Source,
    triage: Pipeline,
    inbox: Destination,
    fake_llm: FakeLLM,
    post: Callable[..., str],
) -> None:
    triage.publish(
        prompt="{{ text }}",
        output_schema=SCHEMA,
        destination=inbox,
        redaction={"kinds": ["email"], "reversible": True},
    )
    fake_llm.answers["e1"] = {"reply_to": "[EMAIL_1]"}
    event_id = post(helpdesk, json.dumps({"text": f"[[e1]] answer {MAIL} please"}).encode())
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "delivered")
    assert event.answer == {"reply_to": MAIL}
    assert InboxItem.objects.get().answer == {"reply_to": MAIL}
    assert fake_llm.calls["e1"] == 1
    assert MAIL not in json.dumps(fake_llm.requests)
    assert MAIL not in read_history(event)
