"""A destination that fails, and each part killed under load: nothing lost, nothing paid twice."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.e2e.system import System
from tests.fixtures.fake_destination import SECRET, FakeDestination
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BACKOFF_S = (1.0, 2.0, 4.0, 8.0)
JITTER = 0.3
LATENESS_S = 1.5  # what a busy machine with two cores may add


def test_five_refusals_make_a_dead_letter_that_a_retry_delivers_without_a_second_call(
    system: System, provider: FakeLLM, receiver: FakeDestination
) -> None:
    receiver.plan = ["500"]
    system.create_way("broken", {"kind": "http", "url": f"{receiver.url}/broken", "secret": SECRET})
    event_id = system.post("broken", "b-1", {"ticket": "[[broken-1]]", "text": "x"}).json()["id"]
    dead = system.wait_for_status(event_id, "dead")

    arrivals = [row.arrived_at for row in receiver.deliveries if row.path == "/broken"]
    assert len(arrivals) == 5
    for wanted, (before, after) in zip(BACKOFF_S, pairwise(arrivals), strict=True):
        assert wanted * (1 - JITTER) <= after - before <= wanted * (1 + JITTER) + LATENESS_S
    assert [row["number"] for row in dead["attempts"] if row["step"] == "deliver"] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert "500" in dead["error"]

    receiver.plan = ["200"]
    assert system.api.post(f"/api/v1/events/{event_id}/retry/").is_success
    system.wait_for_status(event_id, "delivered")
    assert provider.calls["broken-1"] == 1
    assert receiver.accepted[event_id] == 1


def post_load(system: System, name: str, count: int) -> dict[str, dict[str, str]]:
    """Payloads by provider's id, whose marker makes the provider slow enough to be caught."""
    return {
        f"{name}-{number}": {"ticket": f"[[{name}-{number}: hang:0.5]]", "text": "load"}
        for number in range(count)
    }


@pytest.mark.parametrize("part", ["worker", "dispatcher", "valkey", "temporal"])
def test_a_part_killed_under_load_loses_nothing_and_pays_nothing_twice(
    system: System, provider: FakeLLM, part: str
) -> None:
    source = system.create_way(f"kill-{part}")
    payloads = post_load(system, source, 40)
    keys = list(payloads)
    ids = [system.post_until_accepted(source, key, payloads[key]) for key in keys[:20]]
    wait_until(lambda: provider.calls[keys[0]], 30, "the first call of the model")

    system.kill(part)
    ids += [system.post_until_accepted(source, key, payloads[key]) for key in keys[20:]]
    system.wait_until_ready()
    system.wait_until_settled(source, len(keys))

    events = {event["id"]: event for event in system.get_events(source=source)}
    assert set(events) == set(ids)  # nothing acknowledged is lost
    assert {event["status"] for event in events.values()} <= {"delivered", "held"}
    assert max(provider.calls[key] for key in keys) == 1  # nothing is paid twice
    held = [event for event in events.values() if event["status"] == "held"]
    if part != "worker":
        assert not held  # only a worker can leave a call of unknown outcome behind
    page = system.api.get("/api/v1/events/", params={"source": source, "status": "held"}).json()
    assert len(page["results"]) == len(held)


def test_a_call_cut_by_a_killed_worker_is_held_and_goes_on_when_a_person_says_so(
    system: System, provider: FakeLLM
) -> None:
    source = system.create_way("held")
    provider.plan("held-1", "hang:8", "ok")
    event_id = system.post(source, "h-1", {"ticket": "[[held-1]]", "text": "x"}).json()["id"]
    wait_until(lambda: provider.calls["held-1"], 30, "the call of the model")
    system.kill("worker")
    held = system.wait_for_status(event_id, "held", timeout_s=90)
    assert provider.calls["held-1"] == 1
    assert held["error"]

    assert system.api.post(f"/api/v1/events/{event_id}/retry/").is_success
    system.wait_for_status(event_id, "delivered")
    assert provider.calls["held-1"] == 2  # the person decided to pay again
