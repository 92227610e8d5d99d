"""An answer that can't be used is repaired once, paid as a call of its own, and never twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.events.models import Event
from apps.llm import chain, ledger
from apps.llm.admission import Call
from apps.llm.models import LLMCall
from apps.llm.provider import LLMError, OutcomeUnknown, ProviderFailed, ProviderRefused
from apps.llm.step_errors import AnswerInvalid
from apps.pipelines.models import Pipeline
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask, prepare_event

MakeCase = Callable[[str], Event]


def get_rows(event: Event) -> list[tuple[str, str, str]]:
    return list(event.llm_calls.order_by("pk").values_list("step", "state", "problem"))


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [("wrong-schema", "answer_off_schema"), ("not-json", "answer_not_json")],
)
def test_an_unfit_answer_is_repaired_and_both_calls_are_on_record(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, behaviour: str, problem: str
) -> None:
    event = make_case(f"e1: {behaviour} ok")
    answer = ask(event)
    assert answer.answer == {"category": "x"}
    assert get_rows(event) == [("llm", "answered", problem), ("llm:repair", "answered", "")]
    assert fake_llm.calls["e1"] == 2


def test_the_repair_is_paid_and_counted_with_the_first(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = Decimal(1), Decimal(2)
    event = make_case("e1: wrong-schema ok")
    answer = ask(event)
    costs = [call.cost_usd for call in event.llm_calls.all()]
    assert len(costs) == 2
    assert all(costs)
    assert answer.cost_usd == sum(costs)


def test_the_model_is_shown_its_answer_with_place_and_rule(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    ask(make_case("e1: wrong-schema ok"))
    first, second = fake_llm.requests
    asked = len(first["messages"])
    said, wrong = second["messages"][asked:]
    assert second["messages"][:asked] == first["messages"]
    assert said == {"role": "assistant", "content": '{"unexpected": true}'}
    assert wrong["role"] == "user"
    assert (
        "does not fit the schema at additionalProperties. The rule there: false."
        in wrong["content"]
    )
    assert {**second, "messages": 0} == {**first, "messages": 0}


def test_a_repair_that_fails_is_the_end(make_case: MakeCase, ask: Ask, fake_llm: FakeLLM) -> None:
    event = make_case("e1: wrong-schema not-json ok")
    for _ in range(3):
        with pytest.raises(AnswerInvalid) as caught:
            ask(event)
        assert caught.value.code == "answer_not_json"
        assert not caught.value.may_repair
    assert fake_llm.calls["e1"] == 2


def test_a_version_may_go_without(
    make_case: MakeCase, ask: Ask, triage: Pipeline, fake_llm: FakeLLM
) -> None:
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"repair": False})
    event = make_case("e1: wrong-schema ok")
    event.pipeline_version = triage.current_version  # type: ignore[assignment]
    with pytest.raises(AnswerInvalid):
        ask(event)
    assert fake_llm.calls["e1"] == 1


@pytest.mark.parametrize("behaviour", ["empty", "refusal", "truncated", "surrogate"])
def test_what_a_second_question_would_not_mend_is_not_asked_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, behaviour: str
) -> None:
    with pytest.raises(AnswerInvalid):
        ask(make_case(f"e1: {behaviour} ok"))
    assert fake_llm.calls["e1"] == 1


class Killed(BaseException):
    """The worker dies here."""


def test_a_crash_between_answer_and_repair_pays_neither_twice(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_case("e1: wrong-schema ok")

    def die(*_: Any) -> None:
        if event.llm_calls.exists():
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(chain, "get_due_repair", die)
        with pytest.raises(Killed):
            ask(event)
    assert get_rows(event) == [("llm", "answered", "answer_off_schema")]
    assert ask(event).answer == {"category": "x"}
    assert ask(event).reused
    assert fake_llm.calls["e1"] == 2


def test_a_repair_whose_outcome_nobody_knows_is_held_and_only_it_is_called_again(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema reset ok")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            ask(event)
    assert fake_llm.calls["e1"] == 2
    event.run += 1  # a person's retry
    event.save()
    assert ask(event).answer == {"category": "x"}
    assert get_rows(event)[1:] == [("llm:repair", "answered", "")]
    assert fake_llm.calls["e1"] == 3


def test_a_repair_that_was_refused_for_now_goes_on_where_it_stopped(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema 500 ok")
    with pytest.raises(ProviderFailed):
        ask(event)
    assert ask(event).answer == {"category": "x"}
    assert [row[0] for row in get_rows(event)] == ["llm", "llm:repair"]
    assert fake_llm.calls["e1"] == 3


def test_the_repair_asks_for_admission_as_any_call_does(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    class Nothing:
        def settle(self, *_: object) -> None: ...

        def give_back(self) -> None: ...

    def note(call: Call) -> Nothing:
        lengths.append(len(call.request.body["messages"]))
        return Nothing()

    monkeypatch.setattr("apps.llm.admission.GUARDS", (note,))
    ask(make_case("e1: wrong-schema ok"))
    assert lengths == [2, 4]


def test_a_persons_retry_of_a_failed_repair_begins_with_the_question(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema wrong-schema wrong-schema ok")
    with pytest.raises(AnswerInvalid):
        ask(event)
    event.run += 1
    event.save()
    assert ask(event).answer == {"category": "x"}
    assert [row[0] for row in get_rows(event)] == ["llm", "llm:repair", "llm#2", "llm:repair#2"]


def test_a_refused_repair_does_not_bar_the_question_after_a_retry(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema 400 ok")
    with pytest.raises(ProviderRefused):
        ask(event)
    event.run += 1
    event.save()
    assert ask(event).answer == {"category": "x"}
    assert [row[0] for row in get_rows(event)] == ["llm", "llm:repair", "llm#2"]


def test_a_killed_repair_is_held_too(make_case: MakeCase, ask: Ask, fake_llm: FakeLLM) -> None:
    event = make_case("e1: wrong-schema reset ok")
    with pytest.raises(LLMError):
        ask(event)
    LLMCall.objects.filter(step=ledger.REPAIR).update(
        state="intent", owner="elsewhere/1/1", intended_at=timezone.now() - timedelta(days=1)
    )
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert fake_llm.calls["e1"] == 2


def test_the_request_on_record_is_the_one_that_was_sent(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case("e1: wrong-schema ok")
    ask(event)
    kept = event.llm_calls.get(step=ledger.REPAIR)
    assert kept.request == json.loads(json.dumps(fake_llm.requests[1]))
    assert kept.request_hash != prepare_event(event).hash
