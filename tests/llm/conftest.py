"""Ask the fake provider about one event, as the worker does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apps.events.models import Event
from apps.llm.step import LLMAnswer, call_once
from apps.pipelines.prepare import PreparedRequest, prepare
from apps.sources.models import Source
from tests.fixtures.cast import make_event

Ask = Callable[[Event], LLMAnswer]


def prepare_event(event: Event) -> PreparedRequest:
    body = event.body
    request = prepare(event.pipeline_version, bytes(body.raw), body.content_type)
    assert request is not None
    return request


@pytest.fixture
def make_case(helpdesk: Source) -> Callable[[str], Event]:
    """An event whose text carries a marker, and with it the provider's plan."""

    def make(marker: str) -> Event:
        return make_event(helpdesk, f'{{"text": "hello [[{marker}]]"}}'.encode())

    return make


@pytest.fixture
def ask(fake_llm: object) -> Ask:
    """Ask the model about an event once."""
    return lambda event: call_once(event, event.pipeline_version, prepare_event(event))
