"""Repeats are written down for each source, and shown as what they would have cost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from django.utils import timezone

from apps.ingest.metrics import DUPLICATES
from apps.llm import duplicate_keeper
from apps.llm.cost_report import get_report
from apps.llm.costs import to_hour
from apps.llm.duplicate_keeper import DuplicateKeeper
from apps.llm.models import CostHour, DuplicateHour
from apps.sources.models import Source

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def keeper() -> DuplicateKeeper:
    keeper = DuplicateKeeper()
    keeper.written = duplicate_keeper.read_counts()
    return keeper


def repeat(source: Source, times: int) -> None:
    DUPLICATES.labels(source.slug).inc(times)


def test_each_repeat_is_written_once(helpdesk: Source, keeper: DuplicateKeeper) -> None:
    repeat(helpdesk, 2)
    keeper.write()
    keeper.write()
    repeat(helpdesk, 3)
    keeper.write()
    row = DuplicateHour.objects.get()
    assert (row.source, row.duplicates, row.hour) == (helpdesk, 5, to_hour(timezone.now()))


def test_two_processes_add_to_the_same_row(helpdesk: Source, keeper: DuplicateKeeper) -> None:
    other = DuplicateKeeper()
    other.written = dict(keeper.written)
    repeat(helpdesk, 1)
    keeper.write()
    other.write()
    assert DuplicateHour.objects.get().duplicates == 2


def test_a_process_that_ends_writes_what_is_left(helpdesk: Source) -> None:
    async def live_and_end() -> None:
        keeper = DuplicateKeeper()
        await keeper.start()
        repeat(helpdesk, 4)
        await keeper.stop()

    asyncio.run(live_and_end())
    assert DuplicateHour.objects.get().duplicates == 4


def test_they_count_at_the_sources_cost_per_event(helpdesk: Source) -> None:
    hour = to_hour(timezone.now())
    CostHour.objects.create(
        hour=hour,
        source=helpdesk,
        pipeline=helpdesk.pipeline,
        model="m",
        calls=4,
        events=2,
        cost_usd=Decimal(3),
    )
    DuplicateHour.objects.create(hour=hour, source=helpdesk, duplicates=10)
    total = get_report("7d").total
    assert (total.duplicates, total.duplicates_usd) == (10, Decimal(15))
