"""The six figures, measured on a real queue and database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from apps.dashboard import figures
from apps.events.models import Attempt, Status
from apps.llm.models import LLMCall
from apps.sources.models import Source
from tests.fixtures.cast import make_event

NOW = timezone.now


@pytest.fixture(autouse=True)
def _queue(settings: Settings, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]


@pytest.mark.django_db
def test_what_nobody_knows_is_unknown_and_not_zero() -> None:
    sample = figures.measure({})
    assert sample.llm_latency_s is None
    assert sample.error_rate is None
    assert sample.workflow_success_rate is None
    assert sample.dead_letters == 0


@pytest.mark.django_db
def test_a_queue_that_is_down_has_no_length(settings: Settings) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    sample = figures.measure({})
    assert sample.queue_length is None
    assert sample.consumer_lag is None
    assert sample.shards[0]["durable"] is False


def test_rates_count_the_last_five_minutes_only(helpdesk: Source) -> None:
    good = make_event(helpdesk, status=Status.DELIVERED)
    make_event(helpdesk, status=Status.DEAD)
    make_event(helpdesk, status=Status.DEAD, changed_at=NOW() - timedelta(minutes=6))
    for outcome in ("ok", "ok", "failed", "waited"):
        Attempt.objects.create(
            event=good, run=1, step="llm", number=1, outcome=outcome, started_at=NOW()
        )
    sample = figures.measure({})
    assert sample.workflow_success_rate == 0.5
    assert sample.error_rate == pytest.approx(1 / 3)
    assert sample.dead_letters == 2


def test_latency_is_the_median_from_intent_to_answer(helpdesk: Source) -> None:
    event = make_event(helpdesk)
    for number, seconds in enumerate((1, 2, 9)):
        answered = NOW()
        LLMCall.objects.create(
            event=event, request_hash=str(number), model="m", request={}, state="answered",
            intended_at=answered - timedelta(seconds=seconds), answered_at=answered,
        )  # fmt: skip
    sample = figures.measure({})
    assert sample.llm_latency_s == pytest.approx(2)
    assert sample.llm_latency_p95_s is not None
    assert sample.llm_latency_p95_s > 2
