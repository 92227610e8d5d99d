"""A call for a sample: in the ledger, the budgets and the costs, and for no event."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from apps.housekeeping import retention
from apps.llm.cost_report import get_report
from apps.llm.costs import add_up
from apps.llm.models import Budget, BudgetWait, CostHour, LLMCall
from apps.pipelines.dry_run import run_dry
from apps.pipelines.models import Pipeline, Sample
from apps.pipelines.sample_models import MAX_KEPT, SampleRefused
from apps.sources.models import Source
from tests.fixtures.fake_llm import FakeLLM

pytestmark = pytest.mark.django_db(transaction=True)
RAW = b'{"text": "hello [[s1: ok]]"}'


@pytest.fixture(autouse=True)
def prices(settings: Any, fake_llm: FakeLLM) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)


def run(pipeline: Pipeline) -> str:
    sample = Sample.keep(pipeline, None, RAW, name="One")
    return run_dry(sample, pipeline.get_draft().get_version()).sentence


def test_a_budget_of_all_or_of_the_pipeline_refuses_it_and_one_of_a_source_does_not(
    helpdesk: Source, fake_llm: FakeLLM
) -> None:
    little = {"period": "day", "limit_usd": Decimal("0.000001")}
    Budget.objects.create(source=helpdesk, **little)
    other = Pipeline.objects.create(slug="other", name="Other")
    Budget.objects.create(pipeline=other, **little)
    assert run(helpdesk.pipeline) == ""
    LLMCall.objects.all().delete()
    Budget.objects.create(pipeline=helpdesk.pipeline, **little)
    assert "budget" in run(helpdesk.pipeline)
    assert not BudgetWait.objects.exists()
    assert fake_llm.calls["s1"] == 1


def test_a_new_budget_of_the_pipeline_counts_what_samples_have_cost(triage: Pipeline) -> None:
    run(triage)
    budget = Budget.objects.create(pipeline=triage, period="day", limit_usd=Decimal(1))
    assert budget.periods.get().spent_micros > 0


def test_costs_name_it_and_are_added_up_once_however_often(triage: Pipeline) -> None:
    run(triage)
    run(triage)  # reused
    for _ in range(2):
        add_up()
    row = CostHour.objects.get()
    assert (row.on_samples, row.source, row.pipeline, row.calls) == (True, None, triage, 1)
    assert (row.events, row.reused) == (0, 1)
    (cost,) = get_report("7d").sources
    assert (cost.name, cost.cost_usd) == ("tried on samples", LLMCall.objects.get().cost_usd)


def test_a_call_is_for_one_of_both(triage: Pipeline) -> None:
    run(triage)
    with pytest.raises(IntegrityError):
        LLMCall.objects.update(sample=None)


def test_a_removed_body_that_comes_again_is_not_paid_again(
    triage: Pipeline, fake_llm: FakeLLM
) -> None:
    run(triage)
    assert Sample.objects.get().remove()
    assert not Sample.find_kept(triage).exists()
    run(triage)
    assert fake_llm.calls["s1"] == 1


def test_one_that_is_used_once_goes_after_its_time_with_its_calls(triage: Pipeline) -> None:
    kept = Sample.keep(triage, None, b'{"text": "kept"}', name="")
    once = Sample.use_once(triage, None, RAW)
    run_dry(once, triage.get_draft().get_version())
    assert retention.apply().tried == 0
    Sample.objects.filter(pk=once.pk).update(kept_until=timezone.now() - timedelta(seconds=1))
    assert retention.apply().tried == 1
    assert Sample.objects.get() == kept
    assert not LLMCall.objects.exists()


def test_there_are_no_more_than_a_hundred(triage: Pipeline) -> None:
    for number in range(MAX_KEPT):
        Sample.keep(triage, None, b'{"n": %d}' % number, name="")
    with pytest.raises(SampleRefused, match="remove one"):
        Sample.keep(triage, None, RAW, name="")
    assert Sample.objects.count() == MAX_KEPT
