"""One event's way, from the queue to its destination."""

from __future__ import annotations

from collections.abc import Callable

from apps.destinations.models import InboxItem
from apps.events.models import Attempt, Event
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.workers.conftest import Rig, wait_for_status

Post = Callable[..., str]


def test_an_event_in_the_queue_is_answered_and_delivered(
    rig: Rig, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    event_id = post(helpdesk)
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(event_id, "delivered")
    assert event.answer == {"category": "x"}
    assert [a.step + " " + a.outcome for a in event.attempts.all()] == ["llm ok", "deliver ok"]
    assert InboxItem.objects.get().event_id == event.pk
    assert fake_llm.calls["e1"] == 1
