"""Look up an answer that never arrived, where the provider keeps what it has answered.

With `LLM_STORE_COMPLETIONS` each request asks the provider to keep its answer (`store`), under a
mark that names event, step and request. An answer found by that mark was paid, and is put on
record under the fence of the call that was lost: nothing is paid a second time.
"""

from __future__ import annotations

from django.conf import settings

from apps.events.models import Event
from apps.llm import ledger
from apps.llm.endpoints import get_endpoint
from apps.llm.metrics import CALLS
from apps.llm.models import LLMCall
from apps.llm.pricing import get_cost_usd
from apps.llm.provider import find_kept
from apps.llm.step import read_completion
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import prepare


class NotKept(Exception):
    """The provider was not asked to keep its answers: there is nothing to look for."""

    code = "completions_not_kept"
    permanent = True
    retry_after_s: float | None = None

    def __init__(self) -> None:
        super().__init__(
            "The provider keeps no answers for us: LLM_STORE_COMPLETIONS is off. It helps with "
            "calls that are made after it is switched on."
        )


def can_look_up() -> bool:
    """Whether requests ask the provider to keep what it answers."""
    return bool(settings.LLM_STORE_COMPLETIONS)


def look_up(event: Event) -> bool:
    """Put on record what is found of the event's lost calls; whether anything was.

    Must not run inside a transaction. Raises NotKept, and `LLMError` where the provider can't be
    asked.
    """
    if not can_look_up():
        raise NotKept
    lost = [call for call in ledger.find_calls(event) if call.state == LLMCall.State.UNKNOWN]
    return any([_settle(call, event) for call in lost])


def _settle(call: LLMCall, event: Event) -> bool:
    completion = find_kept(get_endpoint(call.provider), call.mark)
    if completion is None:
        return False
    try:
        request = prepare(event.pipeline_version, bytes(event.body.raw), event.body.content_type)
    except PrepareError:
        request = None
    if request is None:
        return False
    _, problem, _ = read_completion(completion, request)
    cost_usd = get_cost_usd(
        call.model, completion.input_tokens, completion.output_tokens, call.provider
    )
    is_recorded = ledger.answer(call, completion, problem, cost_usd)
    if is_recorded:
        CALLS.labels("looked_up").inc()
    return is_recorded
