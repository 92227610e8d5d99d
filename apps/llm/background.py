"""Calls that the provider works on in the background: begun once, then asked for by their id.

From the moment that the id is on record a crash loses nothing: any worker, run or restart asks for
the answer by it, free, and nothing is sent again. In between the event sleeps in its workflow, so
that an answer that takes minutes holds no worker. An id that never came on record (the worker died
before, or the connection broke) is an unknown outcome as any other: the Responses API has no list
to look it up in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from apps.llm import ledger, responses_api
from apps.llm.admission import Seat, take_up
from apps.llm.endpoints import get_endpoint
from apps.llm.models import LLMCall
from apps.llm.provider import Completion, Endpoint, LLMError, OutcomeUnknown, ProviderRefused
from apps.llm.responses_api import NotLookedAt, ResponseGone, ResponseMissing, StillAtWork
from apps.llm.responses_format import Progress

# Asked again after a quarter of the time that it has taken already: soon for a short answer, and
# seldom for a long one.
LEAST_WAIT_S, MOST_WAIT_S, WAIT_SHARE = 1.0, 30.0, 0.25
# Times LLM_BACKGROUND_TIMEOUT_S: from then on a provider that can't be asked keeps nobody.
FORSAKEN_AFTER = 2
# A provider may not find a response that it has: a copy lags, or a proxy sends a look elsewhere.
# That it is gone is believed when every look for so long has said so.
MISSING_FOR = timedelta(minutes=5)
State = LLMCall.State


class ResponseLate(OutcomeUnknown):
    """At work for longer than we wait. Its answer may still come, and can be looked up."""

    code = "llm_response_late"
    message = (
        "The provider was at work in the background for longer than LLM_BACKGROUND_TIMEOUT_S. "
        "Its answer may still come and can be looked up; a retry asks for it first."
    )


def begin(endpoint: Endpoint, call: LLMCall, seat: Seat) -> Completion:
    """Hand the request over; the answer where the provider has it at once.

    Raises StillAtWork when the id is on record, and other `LLMError`s where nothing was taken.
    """
    progress = responses_api.begin(endpoint, call.request, call.mark, ledger.get_last_moment(call))
    if progress.error:
        raise progress.error
    if progress.completion:
        return progress.completion
    waiting = StillAtWork(retry_after_s=LEAST_WAIT_S)
    if ledger.keep_response(call, progress.response_id, seat.as_json()):
        seat.hand_over(progress.seen)
    else:
        # We were given up for lost, and somebody else may have sent it: this one is not wanted.
        _cancel_quietly(endpoint, progress.response_id)
        seat.settle(waiting)
    raise waiting


def look(call: LLMCall) -> Completion:
    """The answer of a call that is under way. Otherwise raises, with ledger and seat to match.

    StillAtWork: not yet. OutcomeUnknown: it is gone, was cancelled, or takes too long. Any other
    `LLMError`: the provider gave up on it, unpaid.
    """
    seat = take_up(call)
    try:
        progress = _ask(call, responses_api.look)
    except NotLookedAt as failure:
        progress = Progress(call.response_id, error=failure)
    if progress.completion:
        return progress.completion
    error = progress.error or StillAtWork()
    if not isinstance(error, StillAtWork):
        raise _give_up(call, seat, error)
    if is_late(call):
        raise _give_up(call, seat, ResponseLate())
    seat.hold_on()
    raise _with_wait(error, call)


def look_again(call: LLMCall, *, or_stop: bool = False) -> Completion | None:
    """The answer of a call that was given up; None where none will come of its id any more, which
    is on record then.

    With `or_stop` one that is still at work is cancelled: its place is needed for another. Raises
    StillAtWork where it goes on, or can't be asked.
    """
    try:
        progress = _ask(call, responses_api.look)
        if or_stop and not (progress.completion or progress.error):
            progress = _ask(call, responses_api.cancel)
    except NotLookedAt as error:
        if not (or_stop and _is_forsaken(call)):
            raise _with_wait(error, call) from None
        progress = Progress(call.response_id, error=ResponseGone())
    if progress.completion:
        return progress.completion
    if progress.error is None:
        raise _with_wait(StillAtWork(), call)
    if not isinstance(progress.error, OutcomeUnknown):
        ledger.refuse(call)
    elif not ledger.lose(call):
        ledger.close_response(call)
    if call.kept_seat:
        # That we stopped it is no failure of the provider's.
        take_up(call).settle(StillAtWork())
    return None


def _ask(call: LLMCall, question: Callable[[Endpoint, str], Progress]) -> Progress:
    """How far it is. Raises NotLookedAt, also where its id is unknown and that proves nothing."""
    try:
        progress = question(_get_endpoint(call), call.response_id)
    except ResponseGone as error:
        # Never by one look alone, however long nobody had looked.
        is_news, since = ledger.note_missing(call), call.missing_since
        if is_news or since is None or timezone.now() < since + MISSING_FOR:
            raise ResponseMissing(http_status=error.http_status) from None
        return Progress(call.response_id, error=error)
    if call.missing_since:
        ledger.note_known(call)
    return progress


def is_late(call: LLMCall) -> bool:
    """Whether it has been at work for as long as we wait."""
    longest = timedelta(seconds=settings.LLM_BACKGROUND_TIMEOUT_S)
    return timezone.now() >= call.intended_at + longest


def _is_forsaken(call: LLMCall) -> bool:
    """Whether a person who calls again need not wait until its provider can be asked about it."""
    longest = timedelta(seconds=FORSAKEN_AFTER * settings.LLM_BACKGROUND_TIMEOUT_S)
    return timezone.now() >= call.intended_at + longest


def _give_up(call: LLMCall, seat: Seat, error: LLMError) -> LLMError:
    """Put on record that no answer came; the error as it is to be raised."""
    if isinstance(error, OutcomeUnknown):
        moved = ledger.lose(call, may_look=isinstance(error, ResponseLate))
    else:
        moved = ledger.refuse(call)
    if not moved:
        return StillAtWork(retry_after_s=LEAST_WAIT_S)  # somebody else was first, and knows more
    seat.settle(error)
    return error


def _with_wait(error: StillAtWork, call: LLMCall) -> StillAtWork:
    elapsed_s = (timezone.now() - call.intended_at).total_seconds()
    wait_s = min(max(LEAST_WAIT_S, WAIT_SHARE * elapsed_s), MOST_WAIT_S)
    error.retry_after_s = max(error.retry_after_s or 0.0, wait_s)
    return error


def _get_endpoint(call: LLMCall) -> Endpoint:
    try:
        return get_endpoint(call.provider)
    except ProviderRefused as error:  # nobody has configured it any more, or not its key
        raise NotLookedAt(str(error)) from None


def _cancel_quietly(endpoint: Endpoint, response_id: str) -> None:
    try:
        responses_api.cancel(endpoint, response_id)
    except LLMError:
        return  # it will be paid, and nobody reads it
