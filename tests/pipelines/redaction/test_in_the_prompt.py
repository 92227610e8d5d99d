"""A version with a redaction asks the model about marks, not about values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.prepare import PreparedRequest, prepare

REDACTION = {"kinds": ["email", "card"], "paths": ["customer.name"], "reversible": True}
PAYLOAD = {
    "type": "ticket",
    "customer": {"name": "Rosa Marks", "email": "rosa@example.com"},
    "text": "Rosa Marks (rosa@example.com) paid twice with 4242 4242 4242 4242",
}
SECRETS = ("Rosa", "rosa@", "4242")


def make_version(inbox: Destination, **fields: Any) -> PipelineVersion:
    config = {"prompt": "{{ text }}", "model": "m", "destination": inbox, "redaction": REDACTION}
    pipeline, _ = Pipeline.objects.get_or_create(slug="p", defaults={"name": "P"})
    return pipeline.publish(**config | fields)


def get_request(version: PipelineVersion, payload: Any = PAYLOAD) -> PreparedRequest:
    request = prepare(version, json.dumps(payload).encode(), "application/json")
    assert request
    return request


def get_prompt(request: PreparedRequest) -> str:
    return str(request.body["messages"][1]["content"])


def test_the_prompt_shows_marks(inbox: Destination) -> None:
    request = get_request(make_version(inbox))
    assert get_prompt(request) == (
        "<event_data>[FIELD_1] ([EMAIL_1]) paid twice with [CARD_1]</event_data>"
    )
    assert request.masked == {"field": 1, "email": 1, "card": 1}


def test_no_value_is_left_in_the_request_nor_shown_with_it(inbox: Destination) -> None:
    request = get_request(make_version(inbox, prompt="{{ @ }} {{ text }}", transform="@"))
    assert not [secret for secret in SECRETS if secret in json.dumps(request.body)]
    assert not [secret for secret in SECRETS if secret in repr(request)]


def test_the_same_value_in_two_places_of_the_prompt_has_one_mark(inbox: Destination) -> None:
    version = make_version(inbox, prompt="{{ customer.email }} wrote: {{ text }}")
    prompt = get_prompt(get_request(version))
    assert prompt.count("[EMAIL_1]") == 2
    assert "[EMAIL_2]" not in prompt


def test_the_model_is_told_what_marks_are_where_there_are_any(inbox: Destination) -> None:
    version = make_version(inbox)
    assert "Marks such as" in get_request(version).body["messages"][0]["content"]
    nothing = get_request(version, PAYLOAD | {"text": "hello"})
    assert "Marks such as" not in nothing.body["messages"][0]["content"]
    assert nothing.masked == {}


def test_a_version_without_redaction_asks_as_it_always_did(inbox: Destination) -> None:
    plain = get_request(make_version(inbox, redaction={}))
    assert get_prompt(plain) == f"<event_data>{PAYLOAD['text']}</event_data>"
    assert (plain.masked, plain.hidden) == ({}, {})


def test_the_filter_sees_values_and_the_transform_the_marks_of_fields(inbox: Destination) -> None:
    version = make_version(
        inbox,
        filter="customer.name == 'Rosa Marks'",
        transform="{text: join(' ', ['by', customer.name])}",
    )
    assert get_prompt(get_request(version)) == "<event_data>by [FIELD_1]</event_data>"


def test_the_same_event_gives_the_same_hash(inbox: Destination) -> None:
    version = make_version(inbox)
    assert get_request(version).hash == get_request(version).hash


def test_only_what_the_prompt_shows_can_come_back(inbox: Destination) -> None:
    request = get_request(make_version(inbox, prompt="{{ customer.email }}"))
    assert request.hidden == {"[EMAIL_1]": "rosa@example.com"}
    assert request.masked == {"email": 1}


def test_nothing_comes_back_where_nobody_asked(inbox: Destination) -> None:
    one_way = make_version(inbox, redaction=REDACTION | {"reversible": False})
    request = get_request(one_way)
    assert "[EMAIL_1]" in get_prompt(request)
    assert request.hidden == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    text=st.lists(
        st.sampled_from(["rosa@example.com", "4242424242424242", "Rosa Marks"])
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
        max_size=8,
    ).map(" ".join),
    key=st.text("abcz@._ ", max_size=8),
)
@pytest.mark.usefixtures("db")
def test_a_masked_prompt_never_shows_what_was_found(
    inbox: Destination, text: str, key: str
) -> None:
    version = PipelineVersion(
        prompt="{{ @ }}", model="m", destination=inbox, redaction=REDACTION, output_schema={}
    )
    payload = PAYLOAD | {"text": text, key: [text, {text: key}]}
    request = get_request(version, payload)
    prompt = get_prompt(request)
    assert request.hidden
    assert [value for value in request.hidden.values() if len(value) > 3 and value in prompt] == []
