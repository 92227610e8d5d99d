"""A request that is only tried: a dry run, or a row of a backtest.

It is made for an event or for a sample, paid and recorded like any other under a step of its own,
and is never the event's answer.
The same request is asked once, whoever asked it: an answer on record is reused, free. Where a model
is down the next of the chain stands in, as for an event.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings

from apps.llm import ledger
from apps.llm.admission import Seat, admit
from apps.llm.background import LEAST_WAIT_S
from apps.llm.chain import Turn, build_chain, check_room, get_route_of
from apps.llm.lanes import get_lane
from apps.llm.models import LLMCall, Subject
from apps.llm.output import PROBLEMS, UnfitAnswer, read_answer
from apps.llm.provider import LLMError, OutcomeUnknown, Route
from apps.llm.responses_api import StillAtWork
from apps.llm.step import IN_FLIGHT_WAIT_S, LLMAnswer, ask, resume, take_late
from apps.llm.step_errors import AnswerInvalid, CallInFlight
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest

DRY_RUN = "dry-run"
State = LLMCall.State


@dataclass(frozen=True)
class Trial:
    """`answer` as a delivery would have it, or `problem`, a sentence. `cost_usd` is 0 if reused.

    `latency_s` is what the provider took, also where the answer was reused; `route` tells which
    model answered, and which were passed over.
    """

    answer: object
    problem: str
    cost_usd: Decimal
    latency_s: float
    is_reused: bool
    route: Route


def try_once(
    subject: Subject, version: PipelineVersion, request: PreparedRequest, step: str, *, again: bool
) -> Trial:
    """The answer to `request` under `step`, paid at most once.

    With `again`, a call of unknown outcome is sent once more: a person says so. The answer is not
    repaired. Must not run inside a transaction. Raises `LLMError`.
    """
    turn = Turn(build_chain(version, request))
    mine = subject.llm_calls.filter(step=step, request_hash__in=[link.hash for link in turn.chain])
    if known := find_known(subject, turn.chain, step):
        return _reuse(known, turn)
    if begun := mine.filter(state__in=(State.INTENT, State.UNKNOWN)).first():
        turn.begin_at(begun)  # it may be paid: nobody else is asked before that is settled
    while link := turn.next:
        if known := find_known(subject, [link], ""):
            return _reuse(known, turn)
        try:
            call, answer, problem = _try(subject, version, turn, link, step, again=again)
        except LLMError as error:
            turn.pass_over(link, error)
            continue
        call.refresh_from_db()
        cost_usd, latency_s = call.cost_usd, _get_latency_s(call)
        return Trial(answer, problem, cost_usd, latency_s, False, turn.get_route(link))
    raise turn.decide().error


def find_known(subject: Subject, chain: list[PreparedRequest], step: str) -> LLMCall | None:
    """The answer to use again: one to the first model, whoever asked; under `step` one to any."""
    answered = subject.llm_calls.filter(state=State.ANSWERED)
    first = answered.filter(request_hash=chain[0].hash).last()
    return (
        first or answered.filter(step=step, request_hash__in=[link.hash for link in chain]).last()
    )


def _reuse(call: LLMCall, turn: Turn) -> Trial:
    ledger.reuse(call)
    link = turn.find(call) or turn.chain[0]
    return replace(read_trial(call, link), route=turn.get_route(link))


def _try(
    subject: Subject,
    version: PipelineVersion,
    turn: Turn,
    request: PreparedRequest,
    step: str,
    *,
    again: bool,
) -> tuple[LLMCall, object, str]:
    """Call, answer, and its problem. Raises `LLMError`."""
    call = subject.llm_calls.filter(step=step, request_hash=request.hash).first()
    try:
        if call and call.is_in_background:  # of a process that died, or did not wait so long
            return call, _wait_for(call, version, request).answer, ""
        if call and call.is_response_open and again:  # it took too long, and may have come since
            late = take_late(call, version, request)
            if late:
                return call, late.answer, ""
        lane = get_lane(request.model, request.provider)
        check_room(request, lane)
        has_stand_in = request is not turn.chain[-1]
        with admit(subject, version, request, lane, has_stand_in=has_stand_in) as seat:
            call = _claim(subject, request, step, again=again)
            return call, _ask(call, version, request, seat).answer, ""
    except AnswerInvalid as error:
        if call is None:
            raise
        return call, None, str(error)


def _ask(
    call: LLMCall, version: PipelineVersion, request: PreparedRequest, seat: Seat
) -> LLMAnswer:
    try:
        return ask(call, version, request, seat)
    except StillAtWork:
        return _wait_for(call, version, request)


def _wait_for(call: LLMCall, version: PipelineVersion, request: PreparedRequest) -> LLMAnswer:
    """The answer of a call in the background: somebody waits here, for LLM_TIMEOUT_S at most.

    Raises StillAtWork then: trying once more goes on waiting for the same call.
    """
    deadline = time.monotonic() + settings.LLM_TIMEOUT_S
    while True:
        call.refresh_from_db()
        try:
            return resume(call, version, request)
        except StillAtWork as error:
            if time.monotonic() > deadline:
                raise
            time.sleep(error.retry_after_s or LEAST_WAIT_S)


def _claim(subject: Subject, request: PreparedRequest, step: str, *, again: bool) -> LLMCall:
    """The intent, on disk. Raises CallInFlight and OutcomeUnknown."""
    mine = subject.llm_calls.filter(step=step, request_hash=request.hash).first()
    if mine is None:
        claimed = ledger.open_call(subject, request, step=step)
    elif mine.state == State.INTENT and (ledger.is_under_way(mine) or not ledger.lose(mine)):
        claimed = None
    elif mine.state in (State.INTENT, State.UNKNOWN) and not again:
        raise OutcomeUnknown
    else:
        claimed = ledger.reopen(mine, subject)
    if claimed is None:
        raise CallInFlight(retry_after_s=IN_FLIGHT_WAIT_S)
    return claimed


def read_trial(call: LLMCall, request: PreparedRequest) -> Trial:
    """What an answered call of this very request says."""
    answer: object = None
    problem = PROBLEMS.get(call.problem, "The answer can't be used.") if call.problem else ""
    if not problem:
        try:
            answer = read_answer(call.answer, request.output_schema, request.hidden)
        except UnfitAnswer as error:
            problem = str(error)
    return Trial(answer, problem, Decimal(0), _get_latency_s(call), True, get_route_of(call))


def _get_latency_s(call: LLMCall) -> float:
    return (call.answered_at - call.intended_at).total_seconds() if call.answered_at else 0.0
