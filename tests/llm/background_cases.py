"""Asking in the background, as the worker does it: once for each time that the workflow wakes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.events.models import Event, Step
from apps.llm import background
from apps.llm.models import LLMCall
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.llm.responses_api import ResponseMissing, StillAtWork
from tests.llm.conftest import Ask


def begin(ask: Ask, event: Event) -> LLMCall:
    """Hand the event's request over; its call, of which the provider has told the id."""
    with pytest.raises(StillAtWork):
        ask(event)
    call = event.llm_calls.latest("pk")
    assert (call.state, call.is_response_open, bool(call.response_id)) == ("intent", True, True)
    return call


def fail_with(ask: Ask, event: Event, error: type[LLMError]) -> LLMError:
    """The very error with which the next attempt ends."""
    with pytest.raises(error) as caught:
        ask(event)
    assert type(caught.value) is error
    return caught.value


def hold(ask: Ask, event: Event) -> None:
    """The next attempt ends as unknown, and holds the event as the worker does."""
    with pytest.raises(OutcomeUnknown) as caught:
        ask(event)
    assert event.hold(Step.LLM, caught.value.code, str(caught.value))


def grow_old(call: LLMCall, seconds: float) -> None:
    """As if it had been begun so much earlier."""
    earlier = call.intended_at - timedelta(seconds=seconds)
    LLMCall.objects.filter(pk=call.pk).update(intended_at=earlier)


def grow_missing(call: LLMCall, time: timedelta) -> None:
    """As if the provider had not known its id for so much longer."""
    assert call.missing_since
    LLMCall.objects.filter(pk=call.pk).update(missing_since=call.missing_since - time)


def lose_track(ask: Ask, event: Event) -> None:
    """The provider does not know the id, and has not for as long as that is doubted."""
    fail_with(ask, event, ResponseMissing)
    grow_missing(event.llm_calls.latest("pk"), background.MISSING_FOR)
