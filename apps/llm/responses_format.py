"""A chat-completions request as the Responses API takes it, and its answer as ours.

Pure: `build` and `read` send nothing. The ledger's hash stays that of the chat-completions request,
so that an answer is reused whichever way it was asked for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from apps.llm.limit_headers import NOTHING_SEEN, SeenLimits
from apps.llm.provider import (
    RATE_LIMIT_WAIT_S,
    Completion,
    LLMError,
    OutcomeUnknown,
    ProviderFailed,
    ProviderRefused,
    RateLimited,
    count,
)

RESPONSE_ID = re.compile(r"[\w.:-]{1,120}", re.ASCII)
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
# What a response failed of. Whatever is not listed may be worth another try.
BUSY = {"rate_limit_exceeded", "insufficient_quota"}
REFUSED = {
    *("invalid_prompt", "data_residency_mismatch"),
    *("bio_policy", "misalignment_policy_violation", "context_length_exceeded"),
}


class ResponseFailed(ProviderFailed):
    """The provider took the request and gave up on it: not paid, worth another try."""

    code = "llm_response_failed"
    message = "The provider gave up on the request in the background."


class ResponseRefused(ProviderRefused):
    """It took the request and then refused it: not paid, and would be refused again."""

    code = "llm_response_refused"
    message = "The provider took the request and then refused it."


class ResponseCancelled(OutcomeUnknown):
    """Somebody cancelled it at the provider, which does not say what was paid until then."""

    code = "llm_response_cancelled"
    message = (
        "The response was cancelled at the provider, which does not say what it cost until then. "
        "A retry asks the model again."
    )


@dataclass(frozen=True)
class Progress:
    """How far a response is: an answer, an error, or neither while the provider is at work."""

    response_id: str
    completion: Completion | None = None
    error: LLMError | None = None
    seen: SeenLimits = NOTHING_SEEN


def build(body: dict[str, Any], mark: dict[str, str]) -> dict[str, Any]:
    """The request that asks the same in the background; the provider keeps it under `mark`."""
    given = dict(body)
    built = {"input": given.pop("messages"), "background": True, "store": True, "metadata": mark}
    for name in TOKEN_LIMITS:
        if name in given:
            built["max_output_tokens"] = given.pop(name)
    if shape := given.pop("response_format", None):
        built["text"] = {"format": {"type": shape["type"], **shape.get("json_schema", {})}}
    return given | built


def read(raw: bytes | None, request_id: str, response_id: str = "") -> Progress:
    """The state of a response; `raw` is None where it was too large to be read.

    Raises OutcomeUnknown where it can't be read at all.
    """
    if raw is None:
        return Progress(response_id, Completion("", "answer_too_large", 0, 0, request_id))
    try:
        document = json.loads(raw)
        found_id, status = document["id"], document["status"]
        usage = document.get("usage") or {}
        tokens = (count(usage, "input_tokens"), count(usage, "output_tokens"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OutcomeUnknown(code="llm_answer_unreadable") from None
    if not (isinstance(found_id, str) and RESPONSE_ID.fullmatch(found_id)):
        raise OutcomeUnknown(code="llm_answer_unreadable")
    text, problem = _read_output(document.get("output"))
    answer = Completion(text, problem, *tokens, request_id)
    progress = Progress(found_id)
    if status == "completed":
        return replace(progress, completion=answer)
    if status == "incomplete":
        problem = "answer_refused" if _is_filtered(document) else "answer_truncated"
        return replace(progress, completion=replace(answer, problem=problem))
    if status in ("failed", "cancelled") and any(tokens):
        # What it counted, it bills.
        return replace(progress, completion=replace(answer, problem=f"answer_{status}"))
    if status == "failed":
        return replace(progress, error=_read_failure(document.get("error")))
    if status == "cancelled":
        return replace(progress, error=ResponseCancelled())
    return progress  # queued, in_progress, or another provider's word for it


def _is_filtered(document: dict[str, Any]) -> bool:
    details = document.get("incomplete_details")
    return isinstance(details, dict) and details.get("reason") == "content_filter"


def _read_failure(error: Any) -> LLMError:
    code = error.get("code") if isinstance(error, dict) else None
    if code in BUSY:
        return RateLimited(
            "The provider took the request and then had no room for it.",
            retry_after_s=RATE_LIMIT_WAIT_S,
        )
    return ResponseRefused() if code in REFUSED else ResponseFailed()


def _read_output(output: Any) -> tuple[str, str]:
    """Text and problem. Reasoning and calls of tools are never looked at."""
    items = output if isinstance(output, list) else []
    messages = [each for each in items if isinstance(each, dict) and each.get("type") == "message"]
    parts = [
        part
        for message in messages
        if message.get("phase") != "commentary" and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict)
    ]
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    text = "".join(each for each in texts if isinstance(each, str))
    if any(part.get("type") == "refusal" for part in parts):
        return text, "answer_refused"
    return text, "" if text else "answer_empty"
