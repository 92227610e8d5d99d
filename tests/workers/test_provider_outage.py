"""The provider is down under load: events wait, none dies of it, all are done after it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from apps.events.models import Attempt, Event
from apps.llm import breaker
from apps.llm.provider import close_clients
from apps.sources.models import Source
from apps.streams.depth import get_depths
from tests.fixtures.fake_llm import FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig

Post = Callable[..., str]
EVENTS = 60


@pytest.mark.usefixtures("_no_patience")
def test_events_wait_while_the_provider_is_down_and_none_dies(
    rig: Rig, helpdesk: Source, post: Post, settings: Any
) -> None:
    provider = FakeLLM()
    settings.OPENAI_BASE_URL = provider.base_url
    provider.stop()
    settings.LLM_BREAKER_FAILURES = 5
    settings.LLM_BREAKER_PAUSE_S = 1
    settings.OPEN_WORKFLOWS_MAX = 40
    rig.start_worker()
    rig.start_dispatcher()
    for number in range(EVENTS):
        post(helpdesk, f'{{"text": "[[e{number}]]"}}'.encode())
    wait_until(lambda: count_waiters() == EVENTS, 60, "all waiting")
    refused = count_refused()
    wait_until(lambda: count_refused() > refused + 6, 60, "failed probes")
    depth = get_depths()[0].depth
    assert depth is not None
    assert depth.lag == 0  # nothing stands in the queue behind them
    assert not Event.objects.filter(status__in=["dead", "held"]).exists()

    back = FakeLLM(provider.port)
    wait_until(lambda: Event.objects.filter(status="delivered").count() == EVENTS, 60, "all done")
    close_clients()
    back.stop()
    assert set(back.calls.values()) == {1}
    assert len(back.calls) == EVENTS
    assert breaker.find_open() == []
    failed = Attempt.objects.filter(step="llm", outcome="failed")
    assert failed.count() <= 5 + settings.WORKER_CONCURRENCY  # those under way when it opened


def count_waiters() -> int:
    waited = Attempt.objects.filter(outcome="waited").values("event").distinct()
    return waited.count()


def count_refused() -> float:
    labels = {"outcome": "llm_unreachable"}
    return REGISTRY.get_sample_value("pipeline_llm_calls_total", labels) or 0
