"""The model answers with marks: the ledger keeps those, the event gets the values where asked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm.metrics import MASKED
from apps.llm.output import UnfitAnswer, read_answer
from apps.llm.provider import LLMError
from apps.llm.step_errors import AnswerInvalid
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask

SCHEMA = {
    "type": "object",
    "properties": {"reply_to": {"type": "string", "pattern": "@"}},
    "required": ["reply_to"],
}
BODY = b'{"text": "[[m1]] write to rosa@example.com, card 4242424242424242"}'
SECRETS = ("rosa@example.com", "4242424242424242")
MakeMasked = Callable[..., Event]


@pytest.fixture
def make_masked(helpdesk: Source, triage: Pipeline, fake_llm: FakeLLM) -> MakeMasked:
    """An event whose pipeline masks, and a model that answers with the mark."""

    def make(schema: dict[str, Any] | None = None, **redaction: Any) -> Event:
        before = triage.current_version
        assert before
        triage.publish(
            prompt="{{ text }}",
            model=before.model,
            output_schema=SCHEMA if schema is None else schema,
            destination=before.destination,
            redaction={"kinds": ["email", "card"], "reversible": True} | redaction,
        )
        helpdesk.refresh_from_db()
        fake_llm.answers["m1"] = {"reply_to": "[EMAIL_1]"}
        return make_event(helpdesk, BODY)

    return make


def test_the_model_is_asked_without_the_values(
    make_masked: MakeMasked, ask: Ask, fake_llm: FakeLLM
) -> None:
    ask(make_masked())
    [request] = fake_llm.requests
    assert not [secret for secret in SECRETS if secret in json.dumps(request)]


def test_the_answer_gets_its_values_back_and_the_ledger_keeps_the_marks(
    make_masked: MakeMasked, ask: Ask
) -> None:
    event = make_masked()
    assert ask(event).answer == {"reply_to": "rosa@example.com"}
    call = event.llm_calls.get()
    assert call.answer == '{"reply_to": "[EMAIL_1]"}'
    stored = json.dumps([call.request, call.answer, call.masked])
    assert not [secret for secret in SECRETS if secret in stored]


def test_an_answer_from_the_record_gets_them_back_too(
    make_masked: MakeMasked, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_masked()
    first, again = ask(event), ask(event)
    assert (again.answer, again.reused) == (first.answer, True)
    assert fake_llm.calls.total() == 1


def test_an_answer_to_other_marks_keeps_them(make_masked: MakeMasked, ask: Ask) -> None:
    event = make_masked(schema={"type": "object"})
    ask(event)
    call = event.llm_calls.get()
    call.request["messages"][1]["content"] = "numbered otherwise"
    call.save()
    assert ask(event).answer == {"reply_to": "[EMAIL_1]"}


def test_what_was_not_asked_back_stays_masked_and_is_checked_so(
    make_masked: MakeMasked, ask: Ask
) -> None:
    with pytest.raises(AnswerInvalid) as caught:
        ask(make_masked(reversible=False))  # the schema wants an @
    assert caught.value.code == "answer_off_schema"


def test_how_many_were_masked_is_kept_and_counted_once(make_masked: MakeMasked, ask: Ask) -> None:
    event = make_masked()
    before = MASKED.labels("email")._value.get()
    ask(event)
    ask(event)
    assert event.llm_calls.get().masked == {"email": 1, "card": 1}
    assert event.llm_calls.get().masked_in_words == "1 e-mail address and 1 card number"
    assert MASKED.labels("email")._value.get() == before + 1


def test_no_value_is_logged(
    make_masked: MakeMasked, ask: Ask, caplog: pytest.LogCaptureFixture, fake_llm: FakeLLM
) -> None:
    caplog.set_level(logging.DEBUG)
    fake_llm.plan("m1", "400", "ok")
    event = make_masked()
    with pytest.raises(LLMError) as caught:
        ask(event)
    ask(event)
    told = f"{caplog.text} {caught.value!r} {caught.value}"
    assert not [secret for secret in SECRETS if secret in told]


def test_a_text_answer_is_unmasked_as_well() -> None:
    assert read_answer("Dear [FIELD_1]", {}, {"[FIELD_1]": "Rosa"}) == "Dear Rosa"


def test_an_answer_that_would_grow_too_large_is_unfit() -> None:
    with pytest.raises(UnfitAnswer) as caught:
        read_answer("[FIELD_1]" * 1000, {}, {"[FIELD_1]": "x" * 1000})
    assert caught.value.code == "answer_too_large"
