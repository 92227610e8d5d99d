"""The models that a version asks in turn: the next stands in where the one before is down.

Down means that it certainly was not paid and could not be asked: it can't be reached, refuses by
an error, a rate limit or its key, or its breaker is open. After a call that may have been paid
nobody else is asked. A limit of our own only makes an event wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.events.models import Event
from apps.llm.breaker import BreakerOpen
from apps.llm.lanes import Lane
from apps.llm.limits import LimitReached, estimate_tokens
from apps.llm.models import LLMCall
from apps.llm.provider import (
    LLMError,
    NotConfigured,
    ProviderFailed,
    ProviderRefused,
    ProviderUnreachable,
    RateLimited,
    Route,
)
from apps.llm.repair import get_due_repair
from apps.llm.responses_format import ResponseRefused
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest, aim
from apps.pipelines.targets import get_targets
from workers.contracts import Verdict

LONG_PAUSE_S = 10.0  # a provider that wants no call for longer is down
# The provider does not serve us: another one may. A request that is wrong is wrong everywhere.
NOT_SERVED = {401, 402, 403, 404}
DOWN = (BreakerOpen, RateLimited, ProviderFailed, ProviderUnreachable, NotConfigured)
# Which of several refusals decides: one that used an attempt, then one that waits.
RANKS = (Verdict.FAILED, Verdict.WAIT, Verdict.NEVER)


class PromptTooLong(LLMError):
    """By our estimate it does not fit into the model's context: it is not sent."""

    code = "llm_prompt_too_long"
    permanent = True
    verdict = Verdict.NEVER

    def __init__(self, lane: Lane, tokens: int) -> None:
        super().__init__(
            f"Prompt and answer may take {tokens:,} tokens, and {lane.model} has room for "
            f"{lane.context_tokens:,}. Shorten the prompt by a transform, lower the longest "
            "answer, or choose another model."
        )


@dataclass(frozen=True)
class Refusal:
    """A model that was passed over, and why."""

    request: PreparedRequest
    error: LLMError


def build_chain(version: PipelineVersion, request: PreparedRequest) -> list[PreparedRequest]:
    """`request`, which asks the first model, and the same question to the others."""
    if not version.fallbacks:
        return [request]
    return [request, *(aim(request, target) for target in get_targets(version)[1:])]


def find_begun(
    calls: list[LLMCall], event: Event, version: PipelineVersion, chain: list[PreparedRequest]
) -> tuple[PreparedRequest, bool] | None:
    """The question that was answered, though not usably: it is settled there, and asked of nobody
    else. With True: its repair.

    `calls` are the event's, newest first.
    """
    for request in chain:
        if repair := get_due_repair(calls, event, version, request):
            return repair, True
    answered = {
        call.request_hash
        for call in calls
        if call.state == LLMCall.State.ANSWERED and call.run == event.run
    }
    begun = next((request for request in chain if request.hash in answered), None)
    return (begun, False) if begun else None


def is_down(error: LLMError) -> bool:
    """Whether the next model is asked."""
    if isinstance(error, LimitReached):
        return error.paused_s > LONG_PAUSE_S
    if isinstance(error, ProviderRefused) and error.http_status is not None:
        return error.http_status in NOT_SERVED
    if isinstance(error, ResponseRefused):
        return False  # the request is wrong, and wrong everywhere
    # Without a status it is refused by us: a key of another host, an address that is not allowed.
    return isinstance(error, (*DOWN, PromptTooLong, ProviderRefused))


def decide(refusals: list[Refusal]) -> LLMError:
    """The error of the step where every model was passed over; it has the route."""
    for verdict in RANKS:
        found = [each for each in refusals if each.error.verdict == verdict]
        if found:
            chosen = min(found, key=lambda each: each.error.retry_after_s or 0.0)
            break
    others = [each for each in refusals if each is not chosen]
    chosen.error.route = get_route(chosen.request, others)
    return chosen.error


def get_route(request: PreparedRequest, passed_over: list[Refusal]) -> Route:
    """As the attempt keeps it."""
    return {
        "provider": request.provider,
        "model": request.model,
        "passed_over": [
            {
                "provider": each.request.provider,
                "model": each.request.model,
                "code": each.error.code,
            }
            for each in passed_over
        ],
    }


def check_room(request: PreparedRequest, lane: Lane) -> None:
    """Raises `PromptTooLong`."""
    tokens = estimate_tokens(request)
    if lane.context_tokens and tokens > lane.context_tokens:
        raise PromptTooLong(lane, tokens)
