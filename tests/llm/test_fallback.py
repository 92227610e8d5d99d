"""Where the first model is down the next stands in: at once, recorded, and paid once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import close_old_connections

from apps.events.models import Event
from apps.llm import ledger, step
from apps.llm.batch_lane import NOT_TAKEN, WaitsInBatch
from apps.llm.budget_watch import choose
from apps.llm.budgets import NO_PRICE, PriceUnknown
from apps.llm.chain import is_down
from apps.llm.lookup import look_up
from apps.llm.models import Budget, BudgetWait, LLMCall, Provider, ProviderModel
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.llm.responses_format import ResponseRefused
from apps.llm.step import call_once
from apps.llm.step_errors import AnswerInvalid, CallInFlight
from apps.llm.trial import DRY_RUN, Trial, try_once
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.streams.clients import get_client
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask, prepare_event
from tests.llm.test_providers import make_provider
from workers.activities import do_ask
from workers.contracts import StepInput, Verdict

Case = Callable[[str], Event]
pytestmark = pytest.mark.django_db(transaction=True)
FIRST = {"provider": "", "model": "test-model"}
SECOND = {"provider": "backup", "model": "second"}


@pytest.fixture(autouse=True)
def _own_queue(settings: Any, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]
    get_client(valkey_url).flushall()


@pytest.fixture(autouse=True)
def backup(triage: Pipeline, second_llm: FakeLLM) -> ProviderModel:
    """The pipeline asks `test-model` of the settings, and then `second` of another provider."""
    row = make_provider(second_llm.base_url)
    model = ProviderModel.objects.create(
        provider=row, name="second", input_price=10_000, output_price=0
    )
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"fallbacks": [SECOND]})
    return model


def get_rows(event: Event) -> list[tuple[str, str, str]]:
    rows = event.llm_calls.order_by("pk").values_list("provider", "model", "state")
    return [(provider, model, state) for provider, model, state in rows]


def passed(code: str) -> dict[str, Any]:
    return SECOND | {"passed_over": [FIRST | {"code": code}]}


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        *(("500", "llm_provider_failed"), ("503:60", "llm_provider_failed")),
        *(("429:60", "llm_rate_limited"), ("401", "llm_refused"), ("404", "llm_refused")),
    ],
)
def test_the_second_answers_where_the_first_refuses(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, behaviour: str, code: str
) -> None:
    fake_llm.plan("e1", behaviour)
    event = make_case("e1")
    answer = ask(event)
    assert answer.answer == {"category": "x"}
    assert answer.route == passed(code)
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)
    assert get_rows(event) == [
        ("", "test-model", "refused"),
        ("backup", "second", "answered"),
    ]
    assert answer.cost_usd == 1  # a hundred tokens at the price of the second


def test_the_second_answers_where_the_first_is_not_there(
    make_case: Case, ask: Ask, second_llm: FakeLLM, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    assert ask(make_case("e1")).route == passed("llm_unreachable")


def test_an_answer_of_the_second_is_used_again_when_the_first_is_back(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    event = make_case("e1")
    ask(event)
    again = ask(event)
    assert again.reused
    assert again.route == SECOND | {"passed_over": []}
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)


@pytest.mark.parametrize("behaviour", ["reset", "cut", "garbage", "504", "524", "408", "499"])
def test_nobody_else_is_asked_after_a_call_that_may_have_been_paid(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, behaviour: str
) -> None:
    fake_llm.plan("e1", behaviour)
    event = make_case("e1")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            ask(event)
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 0)


def test_a_wrong_request_is_wrong_everywhere(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "400")
    with pytest.raises(LLMError) as caught:
        ask(make_case("e1"))
    assert caught.value.permanent
    assert second_llm.calls["e1"] == 0


def test_an_open_breaker_is_passed_over_without_asking(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_BREAKER_FAILURES = 1
    fake_llm.plan("e1", "500")
    ask(make_case("e1"))
    event = make_case("e2")
    answer = ask(event)
    assert answer.route == passed("llm_breaker_open")
    assert (fake_llm.calls["e2"], second_llm.calls["e2"]) == (0, 1)
    assert get_rows(event) == [("backup", "second", "answered")]


def test_a_pause_that_the_first_asks_for_is_not_waited_for(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "429:600")
    ask(make_case("e1"))
    assert ask(make_case("e2")).route == passed("llm_limit_reached")
    assert fake_llm.calls["e2"] == 0


def test_a_limit_of_our_own_only_makes_it_wait(
    make_case: Case, ask: Ask, second_llm: FakeLLM
) -> None:
    ProviderModel.objects.create(name="test-model", requests_per_minute=1)
    ask(make_case("e1"))
    with pytest.raises(LLMError) as caught:
        ask(make_case("e2"))
    assert (caught.value.code, caught.value.verdict) == ("llm_limit_reached", Verdict.WAIT)
    assert second_llm.calls.total() == 0


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("500", "500", Verdict.FAILED),
        ("429:60", "500", Verdict.FAILED),
        ("429:60", "429:30", Verdict.WAIT),
        ("401", "429:30", Verdict.WAIT),
        ("401", "401", Verdict.NEVER),
    ],
)
def test_where_all_are_down_it_is_tried_again_as_far_as_one_may_come_back(
    make_case: Case,
    ask: Ask,
    fake_llm: FakeLLM,
    second_llm: FakeLLM,
    first: str,
    second: str,
    verdict: Verdict,
) -> None:
    fake_llm.plan("e1", first)
    second_llm.plan("e1", second)
    with pytest.raises(LLMError) as caught:
        ask(make_case("e1"))
    assert caught.value.verdict == verdict
    assert caught.value.route
    assert len(caught.value.route["passed_over"]) == 1
    if verdict == Verdict.WAIT:
        assert caught.value.retry_after_s == 30


def test_an_answer_that_does_not_fit_is_repaired_by_whoever_gave_it(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    second_llm.plan("e1", "wrong-schema", "wrong-schema")
    event = make_case("e1")
    with pytest.raises(AnswerInvalid):
        ask(event)
    with pytest.raises(AnswerInvalid):
        ask(event)
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 2)


def test_a_repair_that_is_refused_is_asked_of_nobody_else(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "wrong-schema", "500", "ok")
    event = make_case("e1")
    with pytest.raises(LLMError) as caught:
        ask(event)
    assert caught.value.verdict == Verdict.FAILED
    assert ask(event).answer == {"category": "x"}
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (3, 0)


def test_a_prompt_that_is_too_long_goes_to_a_model_with_room(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    ProviderModel.objects.create(name="test-model", context_tokens=100)
    assert ask(make_case("e1")).route == passed("llm_prompt_too_long")
    assert fake_llm.calls.total() == 0


def test_a_prompt_that_is_too_long_for_all_is_refused_before_it_is_paid(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, backup: ProviderModel
) -> None:
    ProviderModel.objects.create(name="test-model", context_tokens=100)
    ProviderModel.objects.update(context_tokens=100)
    event = make_case("e1")
    with pytest.raises(LLMError, match="has room for 100") as caught:
        ask(event)
    assert (caught.value.verdict, caught.value.permanent) == (Verdict.NEVER, True)
    assert fake_llm.calls.total() + second_llm.calls.total() == 0
    assert not event.llm_calls.exists()


def test_of_two_workers_at_different_models_one_is_first(
    make_case: Case, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    event = make_case("e1")
    request = prepare_event(event)
    seen = ledger.find_calls(event)
    assert ledger.open_call(event, request, seen=seen)  # another worker, meanwhile
    assert ledger.open_call(event, request, number=2, seen=seen) is None
    call = event.llm_calls.get()
    ledger.refuse(call)
    seen = ledger.find_calls(event)
    assert ledger.reopen(event.llm_calls.get(), event)
    assert ledger.reopen(seen[0], event, seen=seen) is None


def test_a_worker_that_comes_late_finds_the_answer_of_another_model(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    event = make_case("e1")
    seen = ledger.find_calls(event)  # as a worker that stands still from here on
    ask(event)
    assert ledger.open_call(event, prepare_event(event), number=2, seen=seen) is None
    asked = step.Asked(prepare_event(event), False, [prepare_event(event)] * 2, seen)
    with pytest.raises(CallInFlight):
        step._claim(asked, event, event.pipeline_version)
    assert event.llm_calls.filter(state="answered").count() == 1


def test_many_workers_at_once_pay_one_model(
    make_case: Case, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    event = make_case("e1")
    fake_llm.plan("e1", "500", "ok")
    fake_llm.latency_ms = second_llm.latency_ms = 20
    request, version = prepare_event(event), event.pipeline_version
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        for _ in range(20):
            try:
                call_once(event, version, request)
            except CallInFlight:
                continue
            except LLMError:
                pass
            break
        close_old_connections()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert LLMCall.objects.filter(state="answered").count() == 1
    assert fake_llm.calls["e1"] + second_llm.calls["e1"] == 2


def test_an_answer_that_was_lost_is_looked_up_where_it_was_asked(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_STORE_COMPLETIONS = True
    fake_llm.plan("e1", "500")
    second_llm.plan("e1", "reset")
    event = make_case("e1")
    with pytest.raises(OutcomeUnknown) as caught:
        ask(event)
    assert caught.value.route == passed("llm_provider_failed")
    assert look_up(event)
    assert not fake_llm.kept
    answer = ask(event)
    assert (answer.reused, answer.route) == (True, SECOND | {"passed_over": []})
    assert event.llm_calls.get(provider="backup").cost_usd == 1
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)


@pytest.fixture
def elsewhere(triage: Pipeline) -> dict[str, str]:
    """A model that nobody knows the price of, at a provider that nothing is sent to."""
    row = make_provider("https://api.example.com/v1", slug="elsewhere")
    ProviderModel.objects.create(provider=row, name="dear")
    Budget.objects.create(limit_usd=Decimal(10), period="day")
    return {"provider": "elsewhere", "model": "dear"}


def publish(triage: Pipeline, first: dict[str, str], *others: dict[str, str]) -> None:
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | first | {"fallbacks": list(others)})


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
def test_one_without_a_price_under_a_budget_is_passed_over(
    triage: Pipeline,
    make_case: Case,
    ask: Ask,
    fake_llm: FakeLLM,
    second_llm: FakeLLM,
    elsewhere: dict[str, str],
    order: tuple[int, ...],
) -> None:
    models = [FIRST, elsewhere, SECOND]
    codes = ["llm_provider_failed", NO_PRICE]
    publish(triage, *(models[place] for place in order))
    fake_llm.plan("e1", "500")
    answer = ask(make_case("e1"))
    over = [models[place] | {"code": codes[place]} for place in order[:2]]
    assert answer.route == SECOND | {"passed_over": over}
    assert second_llm.calls["e1"] == 1


@pytest.mark.parametrize(
    ("behaviour", "verdict"), [("500", Verdict.FAILED), ("429:60", Verdict.WAIT)]
)
def test_that_a_stand_in_has_no_price_makes_nothing_worse(
    triage: Pipeline,
    make_case: Case,
    ask: Ask,
    fake_llm: FakeLLM,
    elsewhere: dict[str, str],
    behaviour: str,
    verdict: Verdict,
) -> None:
    publish(triage, FIRST, elsewhere)
    fake_llm.plan("e1", behaviour)
    with pytest.raises(LLMError) as caught:
        ask(make_case("e1"))
    assert caught.value.verdict == verdict
    assert caught.value.route == FIRST | {"passed_over": [elsewhere | {"code": NO_PRICE}]}


def test_where_nobody_else_can_be_asked_it_is_held_until_there_is_a_price(
    triage: Pipeline, make_case: Case, fake_llm: FakeLLM, elsewhere: dict[str, str]
) -> None:
    publish(triage, FIRST, elsewhere)
    fake_llm.plan("e1", "401")
    event = make_case("e1")
    event.start()
    assert do_ask(StepInput(event.pk.hex, 1, 1)).verdict == Verdict.HELD
    event.refresh_from_db()
    assert (event.status, event.error_code) == ("held", NO_PRICE)
    assert not choose(10)
    ProviderModel.objects.filter(name="dear").update(input_price=1, output_price=1)
    assert [each.pk for each in choose(10)] == [event.pk]


def test_of_two_without_a_price_the_first_is_waited_for(
    triage: Pipeline, make_case: Case, ask: Ask, fake_llm: FakeLLM, elsewhere: dict[str, str]
) -> None:
    row = Provider.objects.get(slug="elsewhere")
    ProviderModel.objects.create(provider=row, name="other")
    publish(triage, elsewhere, elsewhere | {"model": "other"})
    event = make_case("e1")
    with pytest.raises(PriceUnknown, match="dear"):
        ask(event)
    wait = BudgetWait.objects.get()
    assert (wait.event, wait.model, wait.provider) == (event, "dear", "elsewhere")


def try_dry(event: Event, *, again: bool = False) -> Trial:
    return try_once(event, event.pipeline_version, prepare_event(event), DRY_RUN, again=again)


def test_a_dry_run_asks_the_same_chain_and_says_who_answered(
    make_case: Case, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    event = make_case("e1")
    trial = try_dry(event)
    assert (trial.answer, trial.route) == ({"category": "x"}, passed("llm_provider_failed"))
    assert not trial.is_reused
    again = try_dry(event)  # which is paid already, and the first is not asked besides
    assert (again.is_reused, again.route) == (True, SECOND | {"passed_over": []})
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)
    assert {call.step for call in event.llm_calls.all()} == {DRY_RUN}


def test_a_dry_run_asks_the_first_although_the_event_was_answered_by_the_second(
    make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok", "500")
    event = make_case("e1")
    ask(event)
    assert try_dry(event).route == FIRST | {"passed_over": []}
    other = make_case("e2")
    fake_llm.plan("e2", "500")
    ask(other)
    trial = try_dry(other)  # the first is down still: what the second said is used again
    assert (trial.is_reused, trial.route) == (True, passed("llm_provider_failed"))
    assert second_llm.calls["e2"] == 1


def test_a_dry_run_asks_nobody_else_after_a_call_that_may_have_been_paid(
    make_case: Case, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500", "ok")
    second_llm.plan("e1", "reset", "ok")
    event = make_case("e1")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            try_dry(event)
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 1)
    assert try_dry(event, again=True).route == SECOND | {"passed_over": []}
    assert (fake_llm.calls["e1"], second_llm.calls["e1"]) == (1, 2)


def test_where_all_are_down_a_dry_run_says_so(
    make_case: Case, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "401")
    second_llm.plan("e1", "500")
    with pytest.raises(LLMError) as caught:
        try_dry(make_case("e1"))
    assert caught.value.http_status == 500


def test_a_version_may_ask_another_provider_first(
    triage: Pipeline, make_case: Case, ask: Ask, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"fallbacks": [FIRST]} | SECOND)
    second_llm.plan("e1", "500")
    answer = ask(make_case("e1"))
    assert answer.route == FIRST | {"passed_over": [SECOND | {"code": "llm_provider_failed"}]}
    assert ask(make_case("e2")).route == SECOND | {"passed_over": []}
    assert fake_llm.calls["e2"] == 0


def test_the_attempt_says_who_answered_and_who_was_passed_over(
    helpdesk: Source, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    fake_llm.plan("e1", "500")
    event = make_event(helpdesk, b'{"text": "hello [[e1]]"}', status="running")
    assert do_ask(StepInput(event.pk.hex, 1, 1)).verdict == Verdict.DONE
    attempt = event.attempts.get()
    assert (attempt.outcome, attempt.number) == ("ok", 1)
    assert attempt.route == passed("llm_provider_failed")


def test_a_prompt_that_the_provider_refuses_is_asked_of_nobody_else() -> None:
    assert not is_down(ResponseRefused())


def test_where_batches_had_their_try_a_stand_in_is_asked_directly(
    make_case: Case, ask: Ask, triage: Pipeline, second_llm: FakeLLM
) -> None:
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"may_wait_h": 4})
    second_llm.plan("e1", "ok")
    event = make_case("e1: 500")
    with pytest.raises(WaitsInBatch):
        ask(event)
    event.llm_calls.update(batch_count=1)
    ledger.refuse(event.llm_calls.get(), NOT_TAKEN)
    assert ask(event).answer == {"category": "x"}
    assert second_llm.calls["e1"] == 1
