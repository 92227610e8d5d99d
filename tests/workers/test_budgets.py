"""Events that find a budget spent wait without a workflow, and go on by themselves."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from pytest_django import Settings

from apps.events.models import Event, Status, Step
from apps.events.workflow_client import find_running
from apps.llm.budget_watch import watch
from apps.llm.models import Budget
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.fake_llm import OUTPUT_TOKENS, FakeLLM
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status

EVENTS, PAID_FOR = 8, 3
CALL_USD = Decimal("0.02")


@pytest.fixture
def budget(settings: Settings, triage: Pipeline) -> Budget:
    """For three calls of two cents, which is the most that one can cost."""
    settings.LLM_PRICE_INPUT = 0
    settings.LLM_PRICE_OUTPUT = float(CALL_USD * 10**6 / OUTPUT_TOKENS)
    version = triage.current_version
    assert version
    triage.publish(
        prompt=version.prompt,
        model=version.model,
        destination=version.destination,
        output_schema=version.output_schema,
        max_output_tokens=OUTPUT_TOKENS,
    )
    return Budget.objects.create(period="day", limit_usd=PAID_FOR * CALL_USD)


def count(status: Status) -> int:
    return Event.objects.filter(status=status).count()


def test_more_money_carries_those_that_waited_to_the_end(
    rig: Rig,
    budget: Budget,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Callable[..., str],
) -> None:
    rig.start_worker()
    rig.start_dispatcher()
    ids = [post(helpdesk, f'{{"text": "[[e{number}]]"}}'.encode()) for number in range(EVENTS)]

    def is_settled() -> bool:
        return count(Status.DELIVERED) == PAID_FOR and count(Status.HELD) == EVENTS - PAID_FOR

    wait_until(is_settled, 20, "three delivered, the others held")
    assert fake_llm.calls.total() == PAID_FOR
    workflows = [event.workflow_id for event in Event.objects.all()]
    wait_until(lambda: not any(find_running(workflows).values()), 10, "no workflow waits")
    watch()
    assert count(Status.HELD) == EVENTS - PAID_FOR

    budget.limit_usd = EVENTS * CALL_USD
    budget.save()
    watch()

    events = [wait_for_status(each, Status.DELIVERED) for each in ids]
    assert fake_llm.calls == {f"e{number}": 1 for number in range(EVENTS)}
    for event in events:
        assert event.run == 1
        tries = event.attempts.filter(step=Step.LLM).values_list("number", "outcome")
        assert list(tries) in ([(1, "ok")], [(1, "held"), (1, "ok")])
