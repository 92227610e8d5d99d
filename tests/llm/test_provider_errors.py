"""What each failure of the provider means: for money, and for what happens next."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm.endpoints import get_endpoint
from apps.llm.models import LLMCall
from apps.llm.provider import (
    CallTooLate,
    LLMError,
    NotConfigured,
    OutcomeUnknown,
    ProviderUnreachable,
    RateLimited,
    close_clients,
    complete,
)
from apps.llm.provider_models import is_local
from apps.llm.repair import REPAIRABLE
from apps.llm.step_errors import AnswerInvalid
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask
from workers.contracts import Verdict

MakeCase = Callable[[str], Event]

FAILURES = [
    # behaviour, code, verdict, HTTP status, retry after, state of the ledger
    ("429", "llm_rate_limited", Verdict.WAIT, 429, 5.0, "refused"),
    ("429:7", "llm_rate_limited", Verdict.WAIT, 429, 7.0, "refused"),
    ("400", "llm_refused", Verdict.NEVER, 400, None, "refused"),
    ("401", "llm_refused", Verdict.NEVER, 401, None, "refused"),
    ("404", "llm_refused", Verdict.NEVER, 404, None, "refused"),
    ("redirect", "llm_refused", Verdict.NEVER, 307, None, "refused"),
    ("408", "llm_gateway_timeout", Verdict.HELD, 408, None, "unknown"),
    ("499", "llm_gateway_timeout", Verdict.HELD, 499, None, "unknown"),
    ("504:7", "llm_gateway_timeout", Verdict.HELD, 504, 7.0, "unknown"),
    ("524", "llm_gateway_timeout", Verdict.HELD, 524, None, "unknown"),
    ("502", "llm_provider_failed", Verdict.FAILED, 502, None, "refused"),
    ("522", "llm_provider_failed", Verdict.FAILED, 522, None, "refused"),
    ("409", "llm_provider_failed", Verdict.FAILED, 409, None, "refused"),
    ("425", "llm_provider_failed", Verdict.FAILED, 425, None, "refused"),
    ("500", "llm_provider_failed", Verdict.FAILED, 500, None, "refused"),
    ("503:3", "llm_provider_failed", Verdict.FAILED, 503, 3.0, "refused"),
    ("reset", "llm_outcome_unknown", Verdict.HELD, None, None, "unknown"),
    ("cut", "llm_outcome_unknown", Verdict.HELD, None, None, "unknown"),
    ("garbage", "llm_answer_unreadable", Verdict.HELD, None, None, "unknown"),
    ("wrong-schema", "answer_off_schema", Verdict.NEVER, None, None, "answered"),
    ("not-json", "answer_not_json", Verdict.NEVER, None, None, "answered"),
    ("nan", "answer_not_json", Verdict.NEVER, None, None, "answered"),
    ("empty", "answer_empty", Verdict.NEVER, None, None, "answered"),
    ("tool-call", "answer_empty", Verdict.NEVER, None, None, "answered"),
    ("refusal", "answer_refused", Verdict.NEVER, None, None, "answered"),
    ("truncated", "answer_truncated", Verdict.NEVER, None, None, "answered"),
    ("surrogate", "answer_not_text", Verdict.NEVER, None, None, "answered"),
    ("inner-surrogate", "answer_not_text", Verdict.NEVER, None, None, "answered"),
    ("huge", "answer_too_large", Verdict.NEVER, None, None, "answered"),
]


@pytest.mark.parametrize(
    ("behaviour", "code", "verdict", "status", "retry_after_s", "state"),
    FAILURES,
    ids=[failure[0] for failure in FAILURES],
)
def test_a_failure_says_what_it_means(
    behaviour: str,
    code: str,
    verdict: Verdict,
    status: int | None,
    retry_after_s: float | None,
    state: str,
    make_case: MakeCase,
    ask: Ask,
    fake_llm: FakeLLM,
) -> None:
    event = make_case(f"e1: {behaviour}")
    with pytest.raises(LLMError) as caught:
        ask(event)
    error = caught.value
    assert (error.code, error.verdict) == (code, verdict)
    assert (error.http_status, error.retry_after_s) == (status, retry_after_s)
    assert error.permanent == (verdict in (Verdict.NEVER, Verdict.HELD))
    assert {call.state for call in event.llm_calls.all()} == {state}
    assert fake_llm.calls["e1"] == (2 if code in REPAIRABLE else 1)


@pytest.mark.parametrize("behaviour", ["400", "429", "500", "not-json", "wrong-schema"])
def test_no_error_quotes_the_event(behaviour: str, make_case: MakeCase, ask: Ask) -> None:
    with pytest.raises(LLMError) as caught:
        ask(make_case(f"e1: {behaviour}"))
    chain: BaseException | None = caught.value
    while chain:
        assert "hello" not in str(chain)
        assert "Sure!" not in str(chain)
        chain = chain.__cause__ if chain.__suppress_context__ else chain.__context__


@pytest.mark.parametrize("behaviour", ["429", "500", "400"])
def test_a_refused_request_may_be_sent_again(
    behaviour: str, make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_case(f"e1: {behaviour} ok")
    with pytest.raises(LLMError):
        ask(event)
    assert not ask(event).reused
    call = event.llm_calls.get()
    assert (call.state, call.fence, fake_llm.calls["e1"]) == ("answered", 2, 2)


def test_a_provider_that_does_not_listen_was_not_paid(
    make_case: MakeCase, ask: Ask, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free_ports(1)[0]}/v1"
    event = make_case("e1")
    with pytest.raises(ProviderUnreachable) as caught:
        ask(event)
    assert caught.value.verdict == Verdict.FAILED
    assert event.llm_calls.get().state == LLMCall.State.REFUSED


def test_a_name_that_does_not_exist_was_not_paid(
    make_case: MakeCase, ask: Ask, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = "http://provider.invalid/v1"
    with pytest.raises(ProviderUnreachable):
        ask(make_case("e1"))


def test_a_reset_before_the_body_is_read_is_unknown(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    fake_llm.reads_bodies = False
    with pytest.raises(OutcomeUnknown):
        ask(make_case("e1"))
    assert fake_llm.calls["unread"] == 1


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_an_answer_that_takes_too_long_is_unknown(
    behaviour: str, make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.LLM_TIMEOUT_S = 0.3
    event = make_case(f"e1: {behaviour}")
    with pytest.raises(OutcomeUnknown):
        ask(event)
    assert event.llm_calls.get().state == LLMCall.State.UNKNOWN
    assert fake_llm.calls["e1"] == 1


def test_a_date_in_retry_after_is_understood(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    fake_llm.plan("e1", f"429:{later}")
    with pytest.raises(RateLimited) as caught:
        ask(make_case("e1"))
    assert caught.value.retry_after_s
    assert 25 <= caught.value.retry_after_s <= 30


def test_a_fenced_answer_is_read(make_case: MakeCase, ask: Ask) -> None:
    assert ask(make_case("e1: fenced")).answer == {"category": "x"}


def test_an_unusable_answer_is_paid_and_says_what_it_cost(
    make_case: MakeCase, ask: Ask, settings: Any
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 10, 100
    event = make_case("e1: empty")
    with pytest.raises(AnswerInvalid) as caught:
        ask(event)
    assert caught.value.cost_usd == event.llm_calls.get().cost_usd > 0


def test_two_calls_share_a_connection(make_case: MakeCase, ask: Ask, fake_llm: FakeLLM) -> None:
    for marker in ("e1", "e2", "e3"):
        ask(make_case(marker))
    assert fake_llm.connections == 1


def test_without_a_provider_nothing_leaves(make_case: MakeCase, ask: Ask, settings: Any) -> None:
    event = make_case("e1")
    settings.OPENAI_BASE_URL = settings.OPENAI_API_KEY = ""
    with pytest.raises(NotConfigured) as refused:
        ask(event)
    assert refused.value.verdict == Verdict.NEVER
    assert LLMCall.objects.get().state == LLMCall.State.REFUSED


def test_a_local_model_is_never_asked_through_a_proxy(
    make_case: MakeCase, ask: Ask, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_clients()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert not ask(make_case("e1")).reused
    assert fake_llm.calls["e1"] == 1
    close_clients()


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]/v1", True),
        ("http://localhost/v1", True),
        ("https://localhost.example.com/v1", False),
        ("https://api.openai.com/v1", False),
        ("", False),
    ],
)
def test_only_loopback_counts_as_local(address: str, answer: bool) -> None:
    assert is_local(address) is answer


def test_nothing_is_sent_after_the_last_moment(fake_llm: FakeLLM, settings: Any) -> None:
    settings.OPENAI_BASE_URL = fake_llm.base_url
    body = {"model": "fake", "messages": [{"role": "user", "content": "[[late]]"}]}
    with pytest.raises(CallTooLate) as caught:
        complete(get_endpoint(), body, send_before=time.time())
    assert caught.value.verdict == Verdict.WAIT
    assert fake_llm.calls["late"] == 0
    complete(get_endpoint(), body, send_before=time.time() + 10)
    complete(get_endpoint(), body)
    assert fake_llm.calls["late"] == 2
