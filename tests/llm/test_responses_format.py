"""A chat-completions request becomes one for the Responses API, and its answer one of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.llm.provider import LLMError, OutcomeUnknown, RateLimited
from apps.llm.responses_format import (
    Progress,
    ResponseCancelled,
    ResponseFailed,
    ResponseRefused,
    build,
    read,
)

MESSAGES = [{"role": "system", "content": "rules"}, {"role": "user", "content": "hello"}]
USAGE = {"input_tokens": 7, "output_tokens": 3}


def say(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)} | fields


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words}


def look(status: str, *output: Any, **fields: Any) -> Progress:
    document = {"id": "resp_1", "status": status, "output": list(output)} | fields
    return read(json.dumps(document).encode(), "req_1")


def get_answer(progress: Progress) -> tuple[str, str, int, int]:
    answer = progress.completion
    assert answer
    return answer.text, answer.problem, answer.input_tokens, answer.output_tokens


def test_a_request_keeps_all_that_it_asks_for() -> None:
    shape = {"name": "answer", "schema": {"type": "object"}, "strict": False}
    body = {
        "model": "m",
        "messages": MESSAGES,
        "max_tokens": 50,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": shape},
    }
    before = json.dumps(body)
    assert build(body, {"event": "evt_1"}) == {
        "model": "m",
        "input": MESSAGES,
        "max_output_tokens": 50,
        "temperature": 0,
        "text": {"format": {"type": "json_schema", **shape}},
        "background": True,
        "store": True,
        "metadata": {"event": "evt_1"},
    }
    assert json.dumps(body) == before


def test_a_reasoning_models_limit_has_the_same_name_there() -> None:
    built = build({"model": "o3", "messages": MESSAGES, "max_completion_tokens": 9}, {})
    assert built["max_output_tokens"] == 9
    assert not {"max_completion_tokens", "messages", "text"} & built.keys()


@pytest.mark.parametrize("status", ["queued", "in_progress", "pending"])
def test_a_response_that_is_not_ready_has_neither_answer_nor_error(status: str) -> None:
    assert look(status) == Progress("resp_1")


def test_an_answer_is_the_text_of_its_messages_alone() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]},
        say(text("thinking aloud"), phase="commentary"),
        {"type": "function_call", "name": "delete_all", "arguments": "{}"},
        say(text('{"a": '), text("1}")),
    ]
    assert get_answer(look("completed", *output, usage=USAGE)) == ('{"a": 1}', "", 7, 3)


@pytest.mark.parametrize(
    ("progress", "problem"),
    [
        (look("completed"), "answer_empty"),
        (look("completed", say({"type": "refusal", "refusal": "No."})), "answer_refused"),
        (
            look("incomplete", say(text("{")), incomplete_details={"reason": "max_output_tokens"}),
            "answer_truncated",
        ),
        (look("incomplete", say(text("{")), incomplete_details=None), "answer_truncated"),
        (
            look("incomplete", say(text("{")), incomplete_details={"reason": "content_filter"}),
            "answer_refused",
        ),
        (look("failed", error={"code": "server_error"}, usage=USAGE), "answer_failed"),
        (look("cancelled", usage=USAGE), "answer_cancelled"),
        (read(None, ""), "answer_too_large"),
    ],
)
def test_an_answer_that_is_none_says_why(progress: Progress, problem: str) -> None:
    assert get_answer(progress)[1] == problem


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("server_error", ResponseFailed),
        ("something_new", ResponseFailed),
        (None, ResponseFailed),
        ("invalid_prompt", ResponseRefused),
        ("rate_limit_exceeded", RateLimited),
        ("insufficient_quota", RateLimited),
    ],
)
def test_a_failure_without_usage_was_not_paid(code: str | None, error: type[LLMError]) -> None:
    told = {"code": code, "message": "it quotes the prompt"}
    found = look("failed", error=told, usage=None).error
    assert type(found) is error
    assert "quotes" not in str(found)
    assert type(look("failed", error=code).error) is ResponseFailed


def test_what_a_cancelled_response_cost_is_unknown_where_nothing_is_told() -> None:
    assert isinstance(look("cancelled").error, ResponseCancelled)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"<html>", b"[]", b"null", b"{}", b'{"id": "resp_1"}', b"[" * 100_000),
        *(b'{"id": 7, "status": "queued"}', b'{"id": "../x", "status": "queued"}'),
        *(b'{"id": "", "status": "queued"}', b'{"id": "r", "status": "completed", "usage": [1]}'),
    ],
)
def test_what_is_no_response_is_an_unknown_outcome(raw: bytes) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        read(raw, "")
    assert caught.value.code == "llm_answer_unreadable"


@pytest.mark.parametrize("output", [None, "x", [None], [{"type": "message"}], [say(text(7))]])  # type: ignore[arg-type]
def test_an_output_of_another_shape_is_an_empty_answer(output: Any) -> None:
    document = {"id": "resp_1", "status": "completed", "output": output}
    assert get_answer(read(json.dumps(document).encode(), ""))[:2] == ("", "answer_empty")
