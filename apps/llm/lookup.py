"""Look up an answer that never arrived, where the provider keeps what it has answered.

One that it worked on in the background is asked for by its id. For the others, with
`LLM_STORE_COMPLETIONS`, each request asks the provider to keep its answer (`store`), under a mark
that names event, step and request. What is found was paid, and is put on record under the fence of
the call that was lost: nothing is paid a second time.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from apps.events.models import Event
from apps.llm import background, ledger
from apps.llm.admission import Seat, take_up
from apps.llm.endpoints import get_endpoint
from apps.llm.metrics import CALLS
from apps.llm.models import LLMCall
from apps.llm.output import read_completion
from apps.llm.pricing import get_cost_usd
from apps.llm.provider import Completion, find_kept
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


def can_look_up(calls: Iterable[LLMCall]) -> bool:
    """Whether the provider may keep an answer of one of these."""
    return bool(settings.LLM_STORE_COMPLETIONS) or any(call.is_response_open for call in calls)


def look_up(event: Event) -> bool:
    """Put on record what is found of the event's lost calls; whether anything was.

    Must not run inside a transaction. Raises NotKept, and `LLMError` where the provider can't be
    asked.
    """
    lost = [call for call in ledger.find_calls(event) if call.state == LLMCall.State.UNKNOWN]
    if not can_look_up(lost):
        raise NotKept
    return any([_settle(call, event) for call in lost])


def _settle(call: LLMCall, event: Event) -> bool:
    completion = find(call)
    return completion is not None and record(call, event, completion)


def find(call: LLMCall) -> Completion | None:
    """What the provider has of it; None where nothing. Raises `LLMError`."""
    if call.is_response_open:
        return background.look_again(call)
    if not settings.LLM_STORE_COMPLETIONS:
        return None
    return find_kept(get_endpoint(call.provider), call.mark)


def record(call: LLMCall, event: Event | None, completion: Completion) -> bool:
    """Put it on record as the call's answer; False where somebody else was first."""
    problem = completion.problem
    # What a trial's answer is worth is read with its version.
    if event and not (problem or call.is_trial):
        try:
            body = event.body
            request = prepare(event.pipeline_version, bytes(body.raw), body.content_type)
        except PrepareError:
            request = None
        if request is None:
            return False
        _, problem, _ = read_completion(completion, request)
    cost_usd = get_cost_usd(
        call.model, completion.input_tokens, completion.output_tokens, call.provider
    )
    seat = take_up(call) if call.response_id else Seat()
    is_recorded = ledger.answer(call, completion, problem, cost_usd)
    if is_recorded:
        seat.settle(completion, cost_usd)
        CALLS.labels("looked_up").inc()
    return is_recorded
