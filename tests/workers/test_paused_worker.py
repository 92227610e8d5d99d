"""A worker that is paused for too long, and wakes up, finds that its call is no longer its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.events.models import Event
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from tests.workers.processes import Process, Start

TIMEOUT_S = 1


def wait_until_stopped(process: Process) -> None:
    def is_stopped() -> bool:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0] == "T"

    wait_until(is_stopped, 60, "the stop")


@pytest.mark.slow
@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize(
    ("point", "calls"),
    [
        ("after_intent", 1),  # it was to send, and does not any more
        ("answer_read", 2),  # it had sent; the second because a person said so
    ],
)
def test_a_paused_worker_that_wakes_up_overwrites_nothing_and_sends_nothing(
    point: str,
    calls: int,
    rig: Rig,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Callable[..., str],
    start_process: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django.conf.settings.LLM_TIMEOUT_S", TIMEOUT_S)
    fake_llm.answers["e1"] = {"category": "of the paused"}
    event_id = post(helpdesk, b'{"text": "[[e1]]"}')
    rig.start_dispatcher()
    arguments = ("-m", "tests.workers.stopping_worker", "pause", point)
    paused = start_process(*arguments, LLM_TIMEOUT_S=str(TIMEOUT_S))
    wait_until_stopped(paused)

    fake_llm.answers["e1"] = {"category": "of the next"}
    rig.start_worker()
    held = wait_for_status(event_id, "held", timeout_s=60)  # once the lease is over
    assert held.retry()
    delivered = wait_for_status(event_id, "delivered", timeout_s=60)

    os.kill(paused.pid, signal.SIGCONT)
    os.kill(paused.pid, signal.SIGTERM)
    assert paused.wait(60) == 0  # having finished what it was at
    call = delivered.llm_calls.get()
    assert (call.fence, call.answer) == (2, '{"category": "of the next"}')
    assert fake_llm.calls["e1"] == calls
    now = Event.objects.get()
    assert (now.status, now.run, now.answer) == ("delivered", 2, {"category": "of the next"})
    assert set(now.attempts.filter(run=1).values_list("outcome", flat=True)) <= {
        *("failed", "waited", "held")
    }
