"""The models that a version asks in turn: the next stands in where the one before is down.

Down means that it certainly was not paid and could not be asked: it can't be reached, refuses by
an error, a rate limit or its key, or its breaker is open. After a call that may have been paid
nobody else is asked. A limit of our own only makes an event wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from apps.events.models import Event
from apps.llm.breaker import BreakerOpen
from apps.llm.budgets import PriceUnknown, get_most_micros, to_usd
from apps.llm.lanes import Lane
from apps.llm.limits import LimitReached, estimate_tokens
from apps.llm.models import LLMCall
from apps.llm.output import STOPPED
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
DOWN = (
    *(BreakerOpen, RateLimited, ProviderFailed, ProviderUnreachable, NotConfigured),
    PriceUnknown,
)
# Which of several refusals decides: one that used an attempt, then one that waits, first by itself.
RANKS = (Verdict.FAILED, Verdict.WAIT, Verdict.HELD, Verdict.NEVER)
PassedOver = dict[str, str]  # provider, model, code


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

    def as_json(self) -> PassedOver:
        """As an attempt keeps it."""
        return {
            "provider": self.request.provider,
            "model": self.request.model,
            "code": self.error.code,
        }


def get_most_usd(chain: list[PreparedRequest]) -> Decimal:
    """The most that a call may cost, whichever model answers."""
    return to_usd(max(get_most_micros(link.body, link.provider) for link in chain))


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
        if call.state == LLMCall.State.ANSWERED
        and call.run == event.run
        and not may_follow(call, version)
    }
    begun = next((request for request in chain if request.hash in answered), None)
    return (begun, False) if begun else None


def may_follow(call: LLMCall, version: PipelineVersion) -> bool:
    """Whether the same run asks again although this call was paid: it was broken off, and the
    pipeline says to call again.
    """
    return call.problem in STOPPED and version.on_unknown != PipelineVersion.OnUnknown.HOLD


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


@dataclass
class Turn:
    """One attempt at the models of a chain: how far it has come, and who was passed over."""

    chain: list[PreparedRequest]
    refusals: list[Refusal] = field(default_factory=list)
    before: list[PassedOver] = field(default_factory=list)  # until a call went to the background
    asked: int = 0  # from the chain's beginning

    @property
    def next(self) -> PreparedRequest | None:
        """Whom to ask now; None where nobody is left."""
        return self.chain[self.asked] if self.asked < len(self.chain) else None

    @property
    def passed_over(self) -> list[PassedOver]:
        """In the order of the chain, as an attempt keeps it."""
        return [*self.before, *(each.as_json() for each in self.refusals)]

    def find(self, call: LLMCall) -> PreparedRequest | None:
        """The link that a call on record asked; None where the chain does not ask it."""
        return next((link for link in self.chain if link.hash == call.request_hash), None)

    def begin_at(self, call: LLMCall) -> None:
        """Go on with a call that was begun before."""
        link = self.find(call)
        if link is not None:
            self.before = get_route_of(call)["passed_over"]
            self.asked = self.chain.index(link)

    def pass_over(self, link: PreparedRequest, error: LLMError) -> None:
        """Go on behind it. Raises `error` where nobody else is to be asked."""
        if not is_down(error):
            raise error
        self.refusals.append(Refusal(link, error))
        self.asked = max(self.asked, self.chain.index(link) + 1)

    def pass_over_call(self, call: LLMCall, error: LLMError) -> None:
        """The same, where a call in the background has failed: it goes on in its own attempt.

        A repair, and a question that this version does not ask any more, are nobody else's.
        """
        link = self.find(call)
        if link is None or call.is_repair:
            raise error
        self.before = get_route_of(call)["passed_over"]
        self.pass_over(link, error)

    def get_route(self, request: PreparedRequest) -> Route:
        """As the attempt keeps it."""
        return _make_route(request.provider, request.model, self.passed_over)

    def decide(self) -> Refusal:
        """The refusal that ends the attempt where every model was passed over."""
        for verdict in RANKS:
            found = [each for each in self.refusals if each.error.verdict == verdict]
            if found:
                chosen = min(found, key=lambda each: each.error.retry_after_s or 0.0)
                break
        self.refusals.remove(chosen)
        chosen.error.route = self.get_route(chosen.request)
        return chosen


def get_route_of(call: LLMCall) -> Route:
    """Of a call on record. One in the background keeps who was passed over before it."""
    kept = call.kept_seat or {}
    return _make_route(call.provider, call.model, kept.get("passed_over", []))


def _make_route(provider: str, model: str, passed_over: list[PassedOver]) -> Route:
    return {"provider": provider, "model": model, "passed_over": passed_over}


def check_room(request: PreparedRequest, lane: Lane) -> None:
    """Raises `PromptTooLong`."""
    tokens = estimate_tokens(request)
    if lane.context_tokens and tokens > lane.context_tokens:
        raise PromptTooLong(lane, tokens)
