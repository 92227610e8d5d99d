"""A draft on past events: each paid once, under a cap, gone on with after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from apps.backtests.estimate import estimate, find_events
from apps.backtests.models import Backtest, BacktestState, RowState
from apps.backtests.runner import run, run_due
from apps.backtests.totals import add_up
from apps.events.models import Event
from apps.llm import ledger
from apps.llm.models import Budget, LLMCall, ProviderModel
from apps.llm.trial import try_once
from apps.pipelines.prepare import prepare
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.test_providers import make_provider
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Backtest]


@pytest.fixture(autouse=True)
def prices(settings: Settings, fake_llm: FakeLLM) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)


def add_event(source: Source, plan: str, label: str = "x", answer: Any = None) -> Event:
    raw = f'{{"text": "hello [[{plan}]]", "label": "{label}"}}'.encode()
    done: dict[str, Any] = {"status": "delivered", "answer": answer or {"category": "old"}}
    return make_event(source, raw, **done)


@pytest.fixture
def make(helpdesk: Source) -> Make:
    """Of the draft, on as many events as have been made; the newest first."""

    def make_backtest(cap_usd: str = "1", **fields: Any) -> Backtest:
        events = find_events(helpdesk.pipeline, 500)
        draft = helpdesk.pipeline.get_draft()
        return Backtest.start(None, draft, events, cap_usd=Decimal(cap_usd), **fields)

    return make_backtest


def get_states(backtest: Backtest) -> list[str]:
    backtest.refresh_from_db()
    return [backtest.state, *backtest.rows.values_list("state", flat=True)]


def test_each_event_is_asked_once_and_compared(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    add_event(helpdesk, "e1: ok", "other", {"category": "x"})
    add_event(helpdesk, "e2: ok", " X ")
    before = list(Event.objects.order_by("pk").values())
    backtest = make(label_path="label", answer_path="category")
    run(backtest)
    assert get_states(backtest) == ["done", "answered", "answered"]
    newest, oldest = backtest.rows.all()
    assert (newest.changed, newest.is_right, newest.was_right) == (["category"], True, False)
    assert (oldest.changed, oldest.is_right, oldest.was_right) == ([], False, False)
    assert newest.cost_usd > 0
    assert (fake_llm.calls["e1"], fake_llm.calls["e2"]) == (1, 1)
    assert list(Event.objects.order_by("pk").values()) == before
    totals = add_up(backtest)
    assert (totals.changed, totals.right, totals.labelled, totals.percent) == (1, 1, 2, 100)
    assert totals.cost_usd == sum(call.cost_usd for call in LLMCall.objects.all())


def test_the_estimate_is_never_less_than_what_is_paid(helpdesk: Source, make: Make) -> None:
    for number in range(3):
        add_event(helpdesk, f"e{number}: ok")
    version = helpdesk.pipeline.get_draft().get_version()
    expected = estimate(version, find_events(helpdesk.pipeline, 2))
    assert (expected.events, expected.calls, expected.reused) == (2, 2, 0)
    expected = estimate(version, find_events(helpdesk.pipeline, 500))
    backtest = make()
    run(backtest)
    assert 0 < backtest.get_spent_usd() <= expected.most_usd
    again = estimate(version, find_events(helpdesk.pipeline, 500))
    assert (again.calls, again.reused, again.most_usd) == (0, 3, Decimal(0))


def test_it_stops_before_a_call_that_the_cap_may_not_cover(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    for number in range(3):
        add_event(helpdesk, f"e{number}: ok")
    version = helpdesk.pipeline.get_draft().get_version()
    expected = estimate(version, find_events(helpdesk.pipeline, 1))
    backtest = make(str(expected.most_usd))
    run(backtest)
    assert get_states(backtest) == ["stopped", "answered", "waiting", "waiting"]
    assert "of the cap" in backtest.reason
    assert sum(fake_llm.calls.values()) == 1
    assert backtest.get_spent_usd() <= backtest.cap_usd
    assert backtest.resume(Decimal(1))
    run_due()
    assert get_states(backtest) == ["done", "answered", "answered", "answered"]
    assert sum(fake_llm.calls.values()) == 3


def test_a_second_backtest_of_the_same_draft_pays_nothing(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    add_event(helpdesk, "e1: ok")
    run(make())
    second = make("0.000001")
    run(second)
    row = second.rows.get()
    assert row.state == RowState.ANSWERED
    assert row.is_reused
    assert not row.cost_usd
    assert fake_llm.calls["e1"] == 1


def test_after_a_crash_what_was_paid_is_not_paid_again_and_still_counts(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    event = add_event(helpdesk, "e1: ok")
    backtest = make()
    version = backtest.get_version()
    request = prepare(version, bytes(event.body.raw), event.body.content_type)
    assert request
    assert backtest.take()
    try_once(event, version, request, backtest.step, again=False)  # and its process dies here
    run_due()
    assert get_states(backtest) == ["running", "waiting"]  # the lease is not over
    Backtest.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    run_due()
    assert get_states(backtest) == ["done", "answered"]
    assert fake_llm.calls["e1"] == 1
    assert backtest.get_spent_usd() == LLMCall.objects.get().cost_usd > 0


def test_a_call_that_a_crash_left_unknown_counts_and_is_not_sent_again(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    event = add_event(helpdesk, "e1: ok")
    backtest = make()
    version = backtest.get_version()
    request = prepare(version, bytes(event.body.raw), event.body.content_type)
    assert request
    assert ledger.open_call(event, request, step=backtest.step)
    LLMCall.objects.update(owner="", intended_at=timezone.now() - timedelta(days=1))
    run(backtest)
    assert get_states(backtest) == ["done", "failed"]
    assert backtest.get_spent_usd() > 0
    assert fake_llm.calls["e1"] == 0


def test_a_cancelled_one_makes_no_further_call(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    add_event(helpdesk, "e1: ok")
    backtest = make()
    assert backtest.take()
    assert backtest.cancel()
    assert not backtest.beat()
    run_due()
    assert get_states(backtest) == ["cancelled", "waiting"]
    assert fake_llm.calls["e1"] == 0


def test_one_that_is_cancelled_during_a_call_records_it_and_stops(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    add_event(helpdesk, "e1: ok")
    add_event(helpdesk, "e2: ok")
    backtest = make()
    fake_llm.latency_ms = 500

    def work_on_it() -> None:
        run(backtest)
        connection.close()

    work = threading.Thread(target=work_on_it)
    work.start()
    wait_until(lambda: fake_llm.calls["e2"] == 1, 10)
    assert Backtest.objects.get(pk=backtest.pk).cancel()
    work.join(20)
    assert get_states(backtest) == ["cancelled", "answered", "waiting"]
    assert fake_llm.calls["e1"] == 0


def test_one_process_at_a_time_works_on_it(make: Make) -> None:
    backtest = make()
    other = Backtest.objects.get(pk=backtest.pk)
    assert backtest.take()
    assert not other.take()
    assert not other.finish()
    assert backtest.rest()
    assert other.take()
    assert not backtest.beat()


def test_a_slice_that_is_over_leaves_the_rest_for_the_next(helpdesk: Source, make: Make) -> None:
    add_event(helpdesk, "e1: ok")
    backtest = make()
    run(backtest, slice_s=-1)
    assert get_states(backtest) == ["running", "waiting"]
    run_due()
    assert get_states(backtest) == ["done", "answered"]


def test_a_rate_limit_is_waited_for_and_fails_no_row(
    helpdesk: Source, make: Make, fake_llm: FakeLLM
) -> None:
    add_event(helpdesk, "e1: 429 ok")
    backtest = make()
    run(backtest)
    assert get_states(backtest) == ["running", "waiting"]
    assert not backtest.take()
    Backtest.objects.update(leased_until=None)


def test_budgets_hold_for_backtests_too(helpdesk: Source, make: Make, fake_llm: FakeLLM) -> None:
    add_event(helpdesk, "e1: ok")
    Budget.objects.create(period="day", limit_usd=Decimal("0.000001"))
    backtest = make()
    run(backtest)
    assert get_states(backtest) == ["stopped", "waiting"]
    assert "budget" in backtest.reason
    assert fake_llm.calls["e1"] == 0


def test_what_gives_no_answer_says_why_and_the_rest_goes_on(helpdesk: Source, make: Make) -> None:
    add_event(helpdesk, "e1: ok")
    add_event(helpdesk, "e2: wrong-schema")
    add_event(helpdesk, "e3: 500")
    make_event(helpdesk, b"{}")
    backtest = make()
    run(backtest)
    assert get_states(backtest) == ["done", "failed", "failed", "failed", "answered"]
    problems = [row.problem for row in backtest.rows.all()]
    assert "does not have" in problems[0]
    assert "refused" in problems[1]
    assert "does not fit" in problems[2]
    assert backtest.state == BacktestState.DONE


def test_rows_are_answered_by_the_chain_and_name_the_model_under_the_dearest_price(
    helpdesk: Source, make: Make, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    row = make_provider(second_llm.base_url)
    ProviderModel.objects.create(provider=row, name="dear", input_price=100, output_price=100)
    version = helpdesk.pipeline.current_version
    assert version
    stand_in = {"provider": "backup", "model": "dear"}
    add_event(helpdesk, "e1: ok")
    first = estimate(version, find_events(helpdesk.pipeline, 5)).most_usd
    helpdesk.pipeline.publish(**version.get_values() | {"fallbacks": [stand_in]})
    helpdesk.pipeline.refresh_from_db()
    fake_llm.plan("e1", "500", "ok")
    backtest = make("0.001")
    run(backtest)
    assert get_states(backtest) == ["stopped", "waiting"]  # the stand-in may cost more than that
    assert estimate(backtest.get_version(), find_events(helpdesk.pipeline, 5)).most_usd > first
    assert backtest.resume(Decimal(1))
    backtest.refresh_from_db()
    run(backtest)
    found = backtest.rows.get()
    over = [{"provider": "", "model": "test-model", "code": "llm_provider_failed"}]
    assert (found.state, found.route) == ("answered", stand_in | {"passed_over": over})
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)
