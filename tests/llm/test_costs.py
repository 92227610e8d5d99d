"""Costs are added up by the hour, stay when events go, and count nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone
from pytest_django import Settings

from apps.events.models import Event
from apps.llm.cost_report import get_report
from apps.llm.costs import add_up, note_saving
from apps.llm.models import CostHour, LLMCall
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.llm.conftest import Ask

pytestmark = pytest.mark.django_db(transaction=True)


def add_call(source: Source, at: datetime, cost: str = "0.5", model: str = "m") -> LLMCall:
    """An answered call for an event of its own."""
    return LLMCall.objects.create(
        event=make_event(source),
        request_hash="0" * 64,
        state=LLMCall.State.ANSWERED,
        model=model,
        request={},
        input_tokens=10,
        output_tokens=2,
        cost_usd=Decimal(cost),
        intended_at=at,
        answered_at=at,
    )


def test_calls_are_added_up_by_hour_and_model(helpdesk: Source) -> None:
    now = timezone.now()
    for hours, model in ((0, "m"), (0, "m"), (0, "n"), (1, "m")):
        add_call(helpdesk, now - timedelta(hours=hours), model=model)
    assert add_up() == 3
    rows = CostHour.objects.order_by("hour", "model").values_list("model", "calls", "cost_usd")
    half = Decimal("0.5")
    assert list(rows) == [("m", 1, half), ("m", 2, 2 * half), ("n", 1, half)]


def test_two_providers_of_one_model_are_told_apart(helpdesk: Source) -> None:
    now = timezone.now()
    add_call(helpdesk, now)
    add_call(helpdesk, now, "2")
    LLMCall.objects.filter(cost_usd=2).update(provider="backup")
    assert add_up() == 2
    assert add_up() == 2
    models = get_report("7d").models
    assert [(cost.provider, cost.name, cost.cost_usd) for cost in models] == [
        ("backup", "m", Decimal(2)),
        ("settings", "m", Decimal("0.5")),
    ]
    note_saving(LLMCall.objects.get(cost_usd=2).subject, LLMCall.objects.get(cost_usd=2))
    assert [cost.reused for cost in get_report("7d").models] == [1, 0]


def test_adding_up_again_changes_nothing_and_later_calls_are_added(helpdesk: Source) -> None:
    add_call(helpdesk, timezone.now())
    add_up()
    add_call(helpdesk, timezone.now())
    add_up()
    add_up()
    assert get_report("7d").total.calls == 2


def test_hours_that_nobody_added_up_are_made_good(helpdesk: Source) -> None:
    add_call(helpdesk, timezone.now() - timedelta(days=3))
    add_up()
    add_call(helpdesk, timezone.now() - timedelta(days=2))
    add_call(helpdesk, timezone.now())
    add_up()
    assert get_report("7d").total.calls == 3


def test_costs_stay_when_their_events_are_deleted(helpdesk: Source) -> None:
    add_call(helpdesk, timezone.now() - timedelta(days=40))
    add_call(helpdesk, timezone.now())
    add_up()
    LLMCall.objects.all().delete()
    Event.objects.all().delete()
    add_up()
    assert get_report("90d").total.cost_usd == 1
    Source.objects.all().delete()
    assert [cost.name for cost in get_report("90d").sources] == ["deleted"]


def test_an_answer_used_again_counts_as_saved(
    make_case: object, ask: Ask, helpdesk: Source, settings: Settings
) -> None:
    settings.LLM_PRICE_OUTPUT = 1000
    event = make_event(helpdesk, b'{"text": "[[e1]]"}')
    for _ in range(3):
        ask(event)
    add_up()
    total = get_report("7d").total
    assert (total.calls, total.cost_usd) == (1, Decimal("0.02"))
    assert (total.reused, total.saved_usd) == (2, Decimal("0.04"))


def test_the_report_has_every_day_and_the_dearest_first(helpdesk: Source) -> None:
    today = datetime.now(UTC)
    add_call(helpdesk, today, "1", "cheap")
    add_call(helpdesk, today - timedelta(days=6), "5", "dear")
    add_call(helpdesk, today - timedelta(days=8), "9", "old")
    add_up()
    report = get_report("7d")
    assert [day.cost_usd for day in report.days] == [5, 0, 0, 0, 0, 0, 1]
    assert [cost.name for cost in report.models] == ["dear", "cheap"]
    assert (report.total.events, report.total.per_event_usd) == (2, Decimal(3))


def test_unknown_calls_are_told_and_not_added_up(helpdesk: Source) -> None:
    call = add_call(helpdesk, timezone.now())
    LLMCall.objects.filter(pk=call.pk).update(state="unknown", answered_at=None, cost_usd=0)
    add_up()
    report = get_report("7d")
    assert (report.total.calls, report.unknown) == (0, 1)
    assert report.total.per_event_usd is None


def test_the_migration_tells_providers_apart_and_joins_them_again(helpdesk: Source) -> None:
    now = timezone.now()
    first, second = add_call(helpdesk, now), add_call(helpdesk, now, "2")
    add_up()
    (row,) = CostHour.objects.all()
    LLMCall.objects.filter(pk=second.pk).update(provider="backup")
    migration = import_module("apps.llm.migrations.0016_split_costs")
    migration.split(apps, None)
    rows = CostHour.objects.order_by("provider").values_list("provider", "calls", "cost_usd")
    assert list(rows) == [("", 1, first.cost_usd), ("backup", 1, second.cost_usd)]
    migration.join(apps, None)
    (joined,) = CostHour.objects.all()
    assert (joined.calls, joined.events, joined.cost_usd) == (2, row.events, row.cost_usd)
