"""The LLM step: ask once, remember the answer, never pay twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from apps.events.models import Event
from apps.llm import background, ledger
from apps.llm.admission import Seat, admit, take_up
from apps.llm.batch_lane import WaitsInBatch, check_refusal, get_due
from apps.llm.chain import (
    Refusal,
    build_chain,
    check_room,
    decide,
    find_begun,
    get_route,
    is_down,
)
from apps.llm.endpoints import get_endpoint
from apps.llm.lanes import get_lane
from apps.llm.metrics import CALL_SECONDS, CALLS, COST_USD, MASKED
from apps.llm.models import LLMCall
from apps.llm.output import UnfitAnswer, read_answer
from apps.llm.pricing import get_cost_usd
from apps.llm.provider import (
    CallTooLate,
    Completion,
    LLMError,
    OutcomeUnknown,
    Route,
    complete,
)
from apps.llm.repair import may_repair
from apps.llm.responses_api import StillAtWork
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest
from workers.contracts import Verdict

IN_FLIGHT_WAIT_S = 2.0
State = LLMCall.State
OnUnknown = PipelineVersion.OnUnknown
PROBLEMS = {
    "answer_empty": "The model gave no answer.",
    "answer_refused": "The model refused to answer.",
    "answer_truncated": "The answer was cut off: the pipeline's token limit is too low for it.",
    "answer_failed": "The provider gave up in the middle of its answer, and counts it.",
    "answer_cancelled": "The answer was cancelled at the provider, which counts what it had done.",
    "answer_too_large": "The answer was too large to be read.",
    "answer_not_json": "The answer is not JSON.",
    "answer_not_text": "The answer holds characters that are no text.",
    "answer_off_schema": "The answer does not fit the schema.",
}
STOPPED = ("answer_failed", "answer_cancelled")


class CallInFlight(LLMError):
    """Another worker is asking this very question now: wait for its answer; uses no attempt."""

    code = "llm_call_in_flight"
    verdict = Verdict.WAIT
    message = "Another worker is waiting for this answer."


class CallLost(OutcomeUnknown):
    """Sent, no whole answer, and the pipeline says to call again: may pay twice."""

    code = "llm_call_lost"
    permanent = False
    verdict = Verdict.FAILED
    message = "The request was sent and no whole answer came back: the pipeline asks again."


class AnswerInvalid(LLMError):
    """A paid answer that can't be used. Permanent: only a person's retry asks (and pays) again.

    `code` says how, `cost_usd` what was paid by this call (0 where it was paid before).
    `may_repair` tells that the ledger now has a repair due: not yet permanent.
    """

    code = "answer_invalid"
    permanent = True
    verdict = Verdict.NEVER

    def __init__(
        self, message: str, *, code: str, cost_usd: Decimal, may_repair: bool = False
    ) -> None:
        super().__init__(message, code=code)
        self.cost_usd = cost_usd
        self.may_repair = may_repair


@dataclass(frozen=True)
class LLMAnswer:
    """`answer` is JSON, or text where the version has no schema. `cost_usd` is 0 if reused.

    `route` tells which model answered, and which were passed over.
    """

    answer: object
    cost_usd: Decimal
    reused: bool
    route: Route | None = field(default=None, compare=False)


def call_once(event: Event, version: PipelineVersion, request: PreparedRequest) -> LLMAnswer:
    """The answer to `request`, paid at most once for this event.

    An answer on record is reused, free. A call that was sent and never answered raises
    `OutcomeUnknown`, unless the version says to call again or a person has retried the event
    since: `event.run` tells. Must not run inside a transaction. Raises `LLMError`.
    """
    try:
        answer = _call_and_repair(event, version, request)
    except LLMError as error:
        CALLS.labels(error.code).inc()
        raise
    CALLS.labels("reused" if answer.reused else "answered").inc()
    return answer


def _call_and_repair(event: Event, version: PipelineVersion, request: PreparedRequest) -> LLMAnswer:
    try:
        return _call(event, version, request)
    except AnswerInvalid as error:
        if not error.may_repair:
            raise
        CALLS.labels(error.code).inc()
        paid_usd = error.cost_usd
    answer = _call(event, version, request)  # the ledger now says: the repair
    return replace(answer, cost_usd=answer.cost_usd + paid_usd)


def _call(event: Event, version: PipelineVersion, request: PreparedRequest) -> LLMAnswer:
    """Ask the first model of the chain that is not down."""
    chain = build_chain(version, request)
    refusals: list[Refusal] = []
    for link in chain:
        calls = ledger.find_calls(event)
        # Whoever was asked, and whatever its hash: an answer on record is the event's.
        usable = [call for call in calls if call.state == State.ANSWERED and not call.problem]
        if usable:
            return _use(usable[0], request)
        for call in calls:
            # Other requests count too: OPENAI_MODEL may have changed while one was under way.
            if call.is_response_open and (found := _ask_by_id(call, event, version, request)):
                return replace(found, route=_get_route_of(call))
            _check_settled(call, event, version)
        begun = find_begun(calls, event, version, chain)
        request, is_repair = begun or (link, False)
        try:
            answer = _ask_one(event, version, Asked(request, is_repair, chain, calls))
        except LLMError as error:
            error.route = get_route(request, refusals)
            if begun or not is_down(error):
                raise
            refusals.append(Refusal(link, error))
        else:
            return replace(answer, route=get_route(request, refusals))
    raise decide(refusals)


@dataclass(frozen=True)
class Asked:
    """One question to one model of the chain, by what the ledger says: `calls`, newest first."""

    request: PreparedRequest
    is_repair: bool
    chain: list[PreparedRequest]
    calls: list[LLMCall]

    @property
    def same(self) -> list[LLMCall]:
        """Calls with this very request."""
        return [call for call in self.calls if call.request_hash == self.request.hash]

    @property
    def step(self) -> str:
        return ledger.REPAIR if self.is_repair else ledger.STEP

    @property
    def seen(self) -> list[LLMCall] | None:
        """What must not have changed until the claim: with one model its own row is enough."""
        return self.calls if len(self.chain) > 1 else None

    @property
    def has_stand_in(self) -> bool:
        return not self.is_repair and self.request is not self.chain[-1]


def _ask_one(event: Event, version: PipelineVersion, asked: Asked) -> LLMAnswer:
    request, same = asked.request, asked.same
    if same:
        check_refusal(same[0], event)
    lane = get_lane(request.model, request.provider)
    check_room(request, lane)
    if due_at := get_due(event, version, asked.calls):
        _claim(asked, event, due_at)
        raise WaitsInBatch(due_at)
    # Before the intent: a call that waits for its turn has promised nothing.
    with admit(event, version, request, lane, has_stand_in=asked.has_stand_in) as seat:
        return ask(_claim(asked, event), version, request, seat)


def _use(call: LLMCall, request: PreparedRequest) -> LLMAnswer:
    """An answer on record: free, or just come in a batch."""
    paid_usd = _read_first(call)
    if paid_usd is None:
        ledger.reuse(call)
    answer = read_answer(call.answer, request.output_schema, get_hidden(call, request))
    return LLMAnswer(answer, paid_usd or Decimal(0), paid_usd is None, _get_route_of(call))


def _get_route_of(call: LLMCall) -> Route:
    return {"provider": call.provider, "model": call.model, "passed_over": []}


def _read_first(call: LLMCall) -> Decimal | None:
    """What an answer has cost that came in a batch; None where it was seen before."""
    if not ledger.read_first(call):
        return None
    COST_USD.inc(float(call.cost_usd))
    return call.cost_usd


def get_hidden(call: LLMCall, request: PreparedRequest) -> Mapping[str, str]:
    """What the marks of a recorded answer stand for, if they are those of this request.

    A newer version of a library may find one value more, and number the others differently.
    """
    asked = request.body["messages"]  # which a repair goes on from
    is_same = call.request.get("messages", [])[: len(asked)] == asked
    return request.hidden if is_same else {}


def _ask_by_id(
    call: LLMCall, event: Event, version: PipelineVersion, request: PreparedRequest
) -> LLMAnswer | None:
    """The answer that the provider has in the background; None where none is to be waited for.

    Raises `LLMError`, as `background.look` does.
    """
    request = replace(request, hidden=get_hidden(call, request))
    if call.is_in_background:
        return resume(call, version, request)
    return take_late(call, version, request) if _may_send_again(call, event, version) else None


def take_late(
    call: LLMCall, version: PipelineVersion, request: PreparedRequest
) -> LLMAnswer | None:
    """The answer that has come since the call was given up, free; else it is stopped, for another.

    Raises StillAtWork where it goes on, or can't be asked.
    """
    completion = background.look_again(call, or_stop=True)
    if completion and completion.problem not in STOPPED:
        return _record(call, completion, version, request, Seat())
    if completion:
        ledger.answer(call, completion, completion.problem, _get_cost_usd(call, completion))
    call.refresh_from_db()
    return None


def resume(call: LLMCall, version: PipelineVersion, request: PreparedRequest) -> LLMAnswer:
    """The answer of a call in the background, on record. Raises as `background.look` does."""
    try:
        completion = background.look(call)
    except OutcomeUnknown as error:
        raise _get_lost(version, error) from None
    return _record(call, completion, version, request, take_up(call))


def _may_send_again(call: LLMCall, event: Event, version: PipelineVersion) -> bool:
    # A later run means that a person has seen the event held, and retried it all the same.
    return version.on_unknown != OnUnknown.HOLD or call.run != event.run


def _check_settled(call: LLMCall, event: Event, version: PipelineVersion) -> None:
    """Raises CallInFlight, WaitsInBatch or OutcomeUnknown where another request might pay twice."""
    if call.state == State.BATCH and call.due_at:
        raise WaitsInBatch(call.due_at)
    if call.state == State.INTENT and (ledger.is_under_way(call) or not ledger.lose(call)):
        raise CallInFlight(retry_after_s=IN_FLIGHT_WAIT_S)
    if call.state not in (State.INTENT, State.UNKNOWN):
        return
    if not _may_send_again(call, event, version):
        raise OutcomeUnknown


def _claim(asked: Asked, event: Event, due_at: datetime | None = None) -> LLMCall:
    """The row under which the request may leave now, or wait for a batch: its intent on disk."""
    same, request = asked.same, asked.request
    if same and same[0].state != State.ANSWERED:
        claimed = ledger.reopen(same[0], event, due_at, asked.seen)
    elif same and same[0].run == event.run:
        problem = same[0].problem
        sentence = PROBLEMS.get(problem, "The answer can't be used.")
        paid_usd = _read_first(same[0]) or Decimal(0)
        raise AnswerInvalid(sentence, code=problem, cost_usd=paid_usd)
    else:
        number = len(same) + 1
        claimed = ledger.open_call(event, request, number, asked.step, due_at, asked.seen)
        for kind, count in request.masked.items() if claimed else ():
            MASKED.labels(kind).inc(count)
    if claimed is None:
        raise CallInFlight(retry_after_s=IN_FLIGHT_WAIT_S)
    return claimed


def ask(call: LLMCall, version: PipelineVersion, request: PreparedRequest, seat: Seat) -> LLMAnswer:
    """Send the request and put what comes back on record before anything else happens.

    `call` is its intent. Raises `LLMError`; a paid answer that can't be used is `AnswerInvalid`.
    StillAtWork is one that the provider has begun in the background: see `resume`.
    """
    try:
        completion = _send(call, request, seat)
    except StillAtWork:
        raise  # its row has the id by which it is asked for
    except OutcomeUnknown as error:
        ledger.lose(call)
        lost = _get_lost(version, error)
        seat.settle(lost)
        raise lost from None
    except CallTooLate:
        ledger.refuse(call)
        raise  # nothing was asked: the seat gives back what it was given
    except LLMError as error:
        ledger.refuse(call)
        seat.settle(error)
        raise
    return _record(call, completion, version, request, seat)


def _send(call: LLMCall, request: PreparedRequest, seat: Seat) -> Completion:
    endpoint = get_endpoint(call.provider)
    with CALL_SECONDS.time():
        if endpoint.in_background:
            return background.begin(endpoint, call, seat)
        return complete(endpoint, request.body, call.mark, ledger.get_last_moment(call))


def _get_lost(version: PipelineVersion, error: OutcomeUnknown) -> OutcomeUnknown:
    return CallLost() if version.on_unknown == OnUnknown.CALL_AGAIN else error


def _get_cost_usd(call: LLMCall, completion: Completion) -> Decimal:
    tokens = (completion.input_tokens, completion.output_tokens)
    return get_cost_usd(call.model, *tokens, call.provider)


def _record(
    call: LLMCall,
    completion: Completion,
    version: PipelineVersion,
    request: PreparedRequest,
    seat: Seat,
) -> LLMAnswer:
    answer, problem, sentence = read_completion(completion, request)
    cost_usd = _get_cost_usd(call, completion)
    is_recorded = ledger.answer(call, completion, problem, cost_usd)
    # Of a response that two have looked at, one counts what it cost.
    if is_recorded or not call.response_id:
        COST_USD.inc(float(cost_usd))
        seat.settle(completion, cost_usd)
    if not is_recorded:
        # We were given up for lost, and the request was sent again, or another has looked at the
        # same response: what is on record counts.
        raise CallInFlight(retry_after_s=IN_FLIGHT_WAIT_S)
    if problem:
        raise AnswerInvalid(
            f"{sentence} That was after one try to repair it." if call.is_repair else sentence,
            code=problem,
            cost_usd=cost_usd,
            may_repair=may_repair(call, problem, version),
        )
    return LLMAnswer(answer, cost_usd, reused=False)


def read_completion(completion: Completion, request: PreparedRequest) -> tuple[object, str, str]:
    """Answer, problem (a machine word, or nothing) and its sentence."""
    if completion.problem:
        return None, completion.problem, PROBLEMS[completion.problem]
    try:
        return read_answer(completion.text, request.output_schema, request.hidden), "", ""
    except UnfitAnswer as error:
        return None, error.code, str(error)
