"""One more try where an answer can't be used: the model is shown it, and told what is wrong.

The repair is a call like any other: a row of its own in the ledger (step `llm:repair`), paid and
counted, and never itself repaired. Whether one is due stands in the ledger alone, so that a crash
between the two calls pays neither twice.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from apps.events.models import Event
from apps.llm.models import LLMCall
from apps.llm.output import UnfitAnswer, read_answer
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest, get_hash

REPAIRABLE = ("answer_not_json", "answer_off_schema")
MAX_SHOWN_CHARS = 20_000
MAX_RULE_CHARS = 500
ANSWER_RULE = (
    "Answer again, to the same data and the same rules: only one JSON document that fits the "
    "schema, and no other text."
)


def may_repair(call: LLMCall, problem: str, version: PipelineVersion) -> bool:
    """Whether an answer with this problem is worth a repair."""
    return version.repair and problem in REPAIRABLE and not call.is_repair


def get_due_repair(
    calls: list[LLMCall], event: Event, version: PipelineVersion, request: PreparedRequest
) -> PreparedRequest | None:
    """The repair to ask for instead of `request`; None where `request` itself is to be asked.

    `calls` are the event's, newest first. One that was answered, or refused, in an earlier run has
    had its try: a person's retry begins with the question itself.
    """
    first = next((call for call in calls if call.request_hash == request.hash), None)
    if first is None or not may_repair(first, first.problem, version):
        return None
    repair = build_repair(first, request)
    tried = next((call for call in calls if call.request_hash == repair.hash), None)
    is_used_up = (
        tried is not None
        and first.run <= tried.run < event.run
        and tried.state in (LLMCall.State.ANSWERED, LLMCall.State.REFUSED)
    )
    return None if is_used_up else repair


def build_repair(call: LLMCall, request: PreparedRequest) -> PreparedRequest:
    """`request`, its recorded answer, and what is wrong with that; the same each time."""
    said = call.answer[:MAX_SHOWN_CHARS]
    wrong = f"This answer was not accepted. {_describe(call, request)} {ANSWER_RULE}"
    messages = [
        *request.body["messages"],
        {"role": "assistant", "content": said},
        {"role": "user", "content": wrong},
    ]
    body = request.body | {"messages": messages}
    return replace(request, body=body, hash=get_hash(body, request.provider))


def _describe(call: LLMCall, request: PreparedRequest) -> str:
    """Place and rule, both of the schema: nothing of the answer's values, which may be unmasked."""
    try:
        read_answer(call.answer, request.output_schema, request.hidden)
    except UnfitAnswer as error:
        rule = _find_rule(request.output_schema, error.place) if error.place else None
        return str(error) if rule is None else f"{error} The rule there: {rule}."
    return "It can't be read."


def _find_rule(schema: Any, place: str) -> str | None:
    """What the schema says at `properties/category/enum`; None where that can't be followed."""
    rule = schema
    for name in place.split("/"):
        if isinstance(rule, list) and name.isdigit() and int(name) < len(rule):
            rule = rule[int(name)]
        elif isinstance(rule, dict) and name in rule:
            rule = rule[name]
        else:
            return None
    text = json.dumps(rule, sort_keys=True)
    return text if len(text) <= MAX_RULE_CHARS else None
