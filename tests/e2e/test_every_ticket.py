"""The 360 questions of real customers go the whole way, each once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.fixtures.fake_destination import SECRET, FakeDestination
from tests.fixtures.fake_llm import FakeLLM

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.shared_data]


def test_each_question_is_paid_once_and_delivered_once(
    system: System, provider: FakeLLM, receiver: FakeDestination, shared_data: Path
) -> None:
    lines = (shared_data / "webhooks" / "tickets.jsonl").read_text().splitlines()
    tickets = {
        f"ticket-{number}": {"ticket": f"[[ticket-{number}]]"} | json.loads(line)
        for number, line in enumerate(lines)
    }
    assert len(tickets) == 360
    system.create_way(
        "tickets", {"kind": "http", "url": f"{receiver.url}/tickets", "secret": SECRET}
    )

    first = system.post_all("tickets", tickets)
    assert {answer.status_code for answer in first.values()} == {202}
    system.wait_until_settled("tickets", len(tickets))
    second = system.post_all("tickets", tickets)

    assert {answer.status_code for answer in second.values()} == {200}
    assert all(answer.json()["duplicate"] for answer in second.values())
    ids = {key: answer.json()["id"] for key, answer in first.items()}
    assert {key: answer.json()["id"] for key, answer in second.items()} == ids

    events = system.get_events(source="tickets")
    assert {event["status"] for event in events} == {"delivered"}
    assert {event["id"] for event in events} == set(ids.values())
    assert {provider.calls[key] for key in tickets} == {1}
    delivered = [row for row in receiver.deliveries if row.path == "/tickets"]
    assert sorted(row.event_id for row in delivered) == sorted(ids.values())
    assert all(row.is_genuine for row in delivered)
