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
from apps.llm.budgets import PriceUnknown, note_wait
from apps.llm.chain import (
    PassedOver,
    Turn,
    build_chain,
    check_room,
    find_begun,
    get_route_of,
    may_follow,
)
from apps.llm.endpoints import get_endpoint
from apps.llm.lanes import get_lane
from apps.llm.metrics import CALL_SECONDS, CALLS, COST_USD, MASKED
from apps.llm.models import LLMCall
from apps.llm.output import PROBLEMS, STOPPED, read_answer, read_completion
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
from apps.llm.step_errors import AnswerInvalid, AnswerStopped, CallInFlight, CallLost
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest

IN_FLIGHT_WAIT_S = 2.0
State = LLMCall.State
OnUnknown = PipelineVersion.OnUnknown


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
    turn = Turn(build_chain(version, request))
    while link := turn.next:
        calls = ledger.find_calls(event)
        # Whoever was asked, and whatever its hash: an answer on record is the event's.
        usable = [call for call in calls if call.state == State.ANSWERED and not call.problem]
        if usable:
            return _use(usable[0], request)
        if found := _go_on(event, version, request, calls, turn):
            return found
        if turn.next is not link:
            continue
        begun = find_begun(calls, event, version, turn.chain)
        asked, is_repair = begun or (link, False)
        try:
            answer = _ask_one(
                event, version, Asked(asked, is_repair, turn.chain, calls, turn.passed_over)
            )
        except LLMError as error:
            error.route = turn.get_route(asked)
            if begun:
                raise
            turn.pass_over(link, error)
        else:
            return replace(answer, route=turn.get_route(asked))
    chosen = turn.decide()
    if isinstance(chosen.error, PriceUnknown):
        note_wait(event, chosen.error, chosen.request.provider)
    raise chosen.error


def _go_on(
    event: Event,
    version: PipelineVersion,
    request: PreparedRequest,
    calls: list[LLMCall],
    turn: Turn,
) -> LLMAnswer | None:
    """The answer of a call that was begun before; None where another may be made.

    One that has failed in the background is passed over as a direct call would be. Raises where
    another request might pay twice.
    """
    for call in calls:
        # Other requests count too: OPENAI_MODEL may have changed while one was under way.
        if call.is_response_open:
            route = get_route_of(call)
            try:
                found = _ask_by_id(call, event, version, request)
            except LLMError as error:
                error.route = route
                turn.pass_over_call(call, error)
                call.refresh_from_db()
            else:
                if found:
                    return replace(found, route=route)
        _check_settled(call, event, version)
    return None


@dataclass(frozen=True)
class Asked:
    """One question to one model of the chain, by what the ledger says: `calls`, newest first."""

    request: PreparedRequest
    is_repair: bool
    chain: list[PreparedRequest]
    calls: list[LLMCall]
    passed_over: list[PassedOver] = field(default_factory=list)

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
        _claim(asked, event, version, due_at)
        raise WaitsInBatch(due_at)
    # Before the intent: a call that waits for its turn has promised nothing.
    with admit(event, version, request, lane, has_stand_in=asked.has_stand_in) as seat:
        seat.passed_over = asked.passed_over
        return ask(_claim(asked, event, version), version, request, seat)


def _use(call: LLMCall, request: PreparedRequest) -> LLMAnswer:
    """An answer on record: free, or just come in a batch."""
    paid_usd = _read_first(call)
    if paid_usd is None:
        ledger.reuse(call)
    answer = read_answer(call.answer, request.output_schema, get_hidden(call, request))
    return LLMAnswer(answer, paid_usd or Decimal(0), paid_usd is None, get_route_of(call))


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


def _claim(
    asked: Asked, event: Event, version: PipelineVersion, due_at: datetime | None = None
) -> LLMCall:
    """The row under which the request may leave now, or wait for a batch: its intent on disk."""
    same, request = asked.same, asked.request
    if same and same[0].state != State.ANSWERED:
        claimed = ledger.reopen(same[0], event, due_at, asked.seen)
    elif same and same[0].run == event.run and not may_follow(same[0], version):
        problem = same[0].problem
        if problem in STOPPED:
            raise AnswerStopped(problem, version)
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
    if version.on_unknown != OnUnknown.CALL_AGAIN:
        return error
    return CallLost(retry_after_s=error.retry_after_s, http_status=error.http_status)


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
    if problem in STOPPED and not call.is_trial:
        raise AnswerStopped(problem, version)
    if problem:
        raise AnswerInvalid(
            f"{sentence} That was after one try to repair it." if call.is_repair else sentence,
            code=problem,
            cost_usd=cost_usd,
            may_repair=may_repair(call, problem, version),
        )
    return LLMAnswer(answer, cost_usd, reused=False)
