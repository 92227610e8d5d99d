"""Background responses that no workflow asks for any more: they still cost, and are settled here.

An event that was discarded, or marked as failed, needs no answer: the provider is asked to stop.
The answer for one that became a dead letter in between is read, so that its money is settled and a
retry finds it, free; so is one that a dry run or a backtest did not wait for.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.events.models import OPEN, Status
from apps.events.unknown_outcomes import MARKED_FAILED
from apps.llm import background, ledger, lookup
from apps.llm.models import OWN_STEPS, LLMCall
from apps.llm.provider import LLMError
from apps.llm.responses_api import NotLookedAt, ResponseMissing

CALLS_A_ROUND = 20  # of one provider
# Then it is the next one's turn. A look or a cancellation that hangs has a shorter end of its own.
PROVIDER_S = 20.0
KEPT_FOR = timedelta(days=30)  # as long as OpenAI keeps a response
UNWANTED = Q(event__status=Status.DISCARDED) | Q(
    event__status=Status.DEAD, event__error_code=MARKED_FAILED
)


def watch() -> int:
    """One bounded round; how many calls were settled. Must not run inside a transaction."""
    settled = 0
    away: set[str] = set()  # providers that did not answer, or took all their time
    for is_wanted, calls in ((False, find_unwanted()), (True, find_left())):
        for provider in _find_providers(calls):
            if provider not in away:
                settled += _settle_at(provider, calls, away, is_wanted=is_wanted)
    return settled


def _find_providers(calls: QuerySet[LLMCall]) -> list[str]:
    return sorted(set(calls.order_by().values_list("provider", flat=True).distinct()))


def _settle_at(provider: str, calls: QuerySet[LLMCall], away: set[str], *, is_wanted: bool) -> int:
    """Some calls of one provider, in any order: none keeps the others waiting for ever."""
    settled = 0
    deadline = time.monotonic() + PROVIDER_S
    chosen = calls.filter(provider=provider).select_related("event").order_by("?")
    for call in chosen[:CALLS_A_ROUND]:
        if time.monotonic() > deadline:
            away.add(provider)
            break
        try:
            settled += _settle(call, is_wanted=is_wanted)
        except ResponseMissing:
            continue  # it answers, though not of this one
        except NotLookedAt:
            away.add(provider)
            break
        except LLMError:
            continue  # on record already, or still at work
    return settled


def find_unwanted() -> QuerySet[LLMCall]:
    """Those whose answer nobody will need."""
    return _find_open().filter(UNWANTED)


def find_left() -> QuerySet[LLMCall]:
    """Those under way that no workflow and nobody at a page is waiting for."""
    waited_for = timezone.now() - timedelta(seconds=settings.LLM_TIMEOUT_S + ledger.LEASE_MARGIN_S)
    of_event = Q(step__startswith=OWN_STEPS) & ~Q(event__status__in=OPEN)
    of_trial = ~Q(step__startswith=OWN_STEPS) & Q(intended_at__lt=waited_for)
    under_way = _find_open().filter(of_event | of_trial, state=LLMCall.State.INTENT)
    return under_way.exclude(UNWANTED)


def _find_open() -> QuerySet[LLMCall]:
    kept_since = timezone.now() - KEPT_FOR
    return LLMCall.objects.filter(is_response_open=True, intended_at__gt=kept_since)


def _settle(call: LLMCall, *, is_wanted: bool) -> bool:
    """Whether an answer or its absence is on record now. Raises `LLMError`."""
    try:
        if is_wanted:
            return lookup.record(call, call.event, background.look(call))
        completion = background.look_again(call, or_stop=True)
    except NotLookedAt:
        if background.is_late(call):
            ledger.lose(call, may_look=True)
        raise
    return completion is None or lookup.record(call, call.event, completion)
