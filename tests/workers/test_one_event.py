"""One event's way, from the queue to its destination."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable

from apps.destinations.models import Destination, InboxItem
from apps.events import workflow_client
from apps.events.models import Event
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from pipeline_admin.env import BASE_DIR
from tests.fixtures.fake_llm import FakeLLM
from tests.workers.conftest import Rig, wait_for_status

Post = Callable[..., str]


def get_attempts(event: Event) -> list[str]:
    return [f"{one.step} {one.number} {one.outcome}" for one in event.attempts.all()]


async def fetch_history(workflow_id: str) -> str:
    client = await workflow_client.connect()
    return (await client.get_workflow_handle(workflow_id).fetch_history()).to_json()


def read_history(event: Event) -> str:
    """The history of the event's workflow as JSON, with its payloads in plain text too."""
    background = workflow_client.get_background()
    document = background.submit(fetch_history(event.workflow_id)).result()
    payloads = re.findall(r'"data":\s*"([^"]*)"', document)
    return document + " ".join(base64.b64decode(data).decode() for data in payloads)


def test_an_event_in_the_queue_is_answered_and_delivered(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    event_id = post(helpdesk)
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "delivered")
    assert event.answer == {"category": "x"}
    assert get_attempts(event) == ["llm 1 ok", "deliver 1 ok"]
    assert InboxItem.objects.get().event_id == event.pk
    assert fake_llm.calls["e1"] == 1


def test_an_event_that_the_filter_does_not_want_is_never_paid_for(
    rig: Rig, helpdesk: Source, triage: Pipeline, inbox: Destination, fake_llm: FakeLLM, post: Post
) -> None:
    triage.publish(filter="text == 'other'", prompt="{{ text }}", destination=inbox)
    event_id = post(helpdesk)
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "filtered")
    assert get_attempts(event) == ["prepare 1 ok"]
    assert fake_llm.calls.total() == 0


def test_an_event_that_cannot_be_prepared_is_a_dead_letter_at_once(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    event_id = post(helpdesk, b"this is no JSON")
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "dead")
    assert (event.step, event.error_code) == ("prepare", "payload_not_json")
    assert get_attempts(event) == ["prepare 1 permanent"]


def test_a_history_holds_neither_payload_nor_answer(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    fake_llm.plan("secret", "500", "ok")
    fake_llm.answers["secret"] = {"category": "confidential"}
    event_id = post(helpdesk, b'{"text": "[[secret]] of Ada"}')
    rig.start_worker()
    rig.start_dispatcher()
    history = read_history(wait_for_status(event_id, "delivered"))
    assert event_id in history
    for text in ("secret", "Ada", "confidential", "refused"):
        assert text not in history


def test_the_workflow_knows_nothing_of_django() -> None:
    code = "import sys, workers.workflows; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR).returncode == 0


def test_a_quarantined_event_waits_and_once_released_goes_its_usual_way(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    event_id = post(helpdesk, q="text must be a number.")
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "held")
    assert (event.error_code, event.error) == ("quarantined", "text must be a number.")
    wait_for_status(post(helpdesk, b'{"text": "[[e2]]"}'), "delivered")
    assert fake_llm.calls["e1"] == 0

    assert event.retry()

    event = wait_for_status(event_id, "delivered")
    assert get_attempts(event) == ["llm 1 ok", "deliver 1 ok"]
    assert fake_llm.calls["e1"] == 1
