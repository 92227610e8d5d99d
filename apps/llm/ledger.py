"""The ledger's verbs. Each is one conditional write, committed before the caller goes on.

A row says who sends (owner), for which run of the event, and under which fence. A process that
was paused and wakes up finds another fence, and its write changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    transaction,
)
from django.db.models import F, Q
from django.utils import timezone

from apps.events.models import Event
from apps.llm import budgets
from apps.llm.costs import note_saving
from apps.llm.models import OWN_STEPS, LLMCall, Subject
from apps.llm.owner import get_owner, is_gone
from apps.llm.provider import Completion
from apps.pipelines.prepare import PreparedRequest

STEP, REPAIR = "llm", "llm:repair"
LEASE_MARGIN_S = 10.0
RECORD_PAUSES_S = (0.2, 1.0, 2.0, 4.0, 8.0)
State = LLMCall.State


def find_calls(event: Event) -> list[LLMCall]:
    """Every call that the event's own run made, newest first: trials are none of its business."""
    return list(event.llm_calls.own().order_by("-pk"))


def open_call(
    event: Subject,
    request: PreparedRequest,
    number: int = 1,
    step: str = STEP,
    due_at: datetime | None = None,
    seen: list[LLMCall] | None = None,
) -> LLMCall | None:
    """A new intent, on disk when this returns; None where somebody else wrote it first.

    With `due_at` it waits for a batch instead, whose price it reserves. With `seen` only if those
    are still all of the event's own calls: of two workers at different models one is first.

    Asking the same request again after an answer that can't be used is a row of its own (llm#2),
    so that every paid answer stays on record. `number` comes from the caller, who has looked:
    counted here, of two workers each could find a number of its own. Raises what
    `budgets.charging` does.
    """
    try:
        named = step if number == 1 else f"{step}#{number}"
        waits = named.startswith(OWN_STEPS)
        with (
            budgets.charging(
                event,
                request.body,
                provider=request.provider,
                waits=waits,
                in_batch=bool(due_at),
            ) as charge,
            transaction.atomic(durable=True),
        ):
            if seen is not None and not _is_unchanged(event, seen):
                return None
            call = LLMCall.objects.create(
                **{"event" if isinstance(event, Event) else "sample": event},
                step=named,
                request_hash=request.hash,
                run=event.run,
                provider=request.provider,
                model=request.model[:120],
                request=request.body,
                masked=dict(request.masked),
                intended_at=timezone.now(),
                **_get_way(due_at),
                **charge.fields,
            )
            charge.reserve()
            return call
    except IntegrityError:
        return None


def reopen(
    call: LLMCall,
    event: Subject,
    due_at: datetime | None = None,
    seen: list[LLMCall] | None = None,
) -> LLMCall | None:
    """Refused or unknown → intent under the next fence; None if somebody else was first.

    With `due_at` and `seen` as `open_call` does. What an unknown call may have cost stays spent.
    Raises what `budgets.charging` does.
    """
    waits = not call.is_trial
    with (
        budgets.charging(
            event, call.request, provider=call.provider, waits=waits, in_batch=bool(due_at)
        ) as charge,
        transaction.atomic(durable=True),
    ):
        if seen is not None and not _is_unchanged(event, seen):
            return None
        moved = _update(
            call,
            (State.REFUSED, State.UNKNOWN),
            fence=call.fence + 1,
            run=event.run,
            intended_at=timezone.now(),
            batch_count=call.batch_count if call.run == event.run else 0,
            response_id="",
            is_response_open=False,
            kept_seat=None,
            missing_since=None,
            **_get_way(due_at),
            **charge.fields,
        )
        if not moved:
            return None
        charge.reserve()
    call.refresh_from_db()
    return call


def _get_way(due_at: datetime | None) -> dict[str, Any]:
    """Sent at once by this process, or put where batches are made of."""
    if due_at is None:
        way = {"state": State.INTENT, "owner": get_owner()}
    else:
        way = {"state": State.BATCH, "owner": ""}
    return way | {"due_at": due_at, "batch": None, "refusal": ""}


def _is_unchanged(event: Subject, seen: list[LLMCall]) -> bool:
    """Part of the caller's transaction, which nobody else who asks so overtakes."""
    Event.objects.select_for_update(no_key=True).only("pk").get(pk=event.pk)
    now = event.llm_calls.own().order_by("-pk").values_list("pk", "fence", "state")
    return list(now) == [(call.pk, call.fence, call.state) for call in seen]


def answer(
    call: LLMCall, completion: Completion, problem: str, cost_usd: Decimal, **fields: Any
) -> bool:
    """Intent, batch or unknown → answered. False if the call was opened again meanwhile.

    The answer is paid and exists only here: a database that is away is waited for, up to 15 s.
    """
    return _persist(lambda: _record(call, completion, problem, cost_usd, **fields))


def keep_response(call: LLMCall, response_id: str, seat: dict[str, Any]) -> bool:
    """Note the id under which the provider works on it: from here on anybody may ask for it.

    False if the call was opened again meanwhile. As with an answer, a database that is away is
    waited for: the id exists only here.
    """
    fields = {"response_id": response_id, "is_response_open": True, "kept_seat": seat}
    is_kept = _persist(lambda: _update(call, (State.INTENT,), **fields))
    if is_kept:
        for name, value in fields.items():
            setattr(call, name, value)
    return is_kept


def note_missing(call: LLMCall) -> bool:
    """The provider does not know the id now. False where it did not before either."""
    now = timezone.now()
    known = LLMCall.objects.filter(pk=call.pk, fence=call.fence, missing_since=None)
    is_new = bool(known.update(missing_since=now))
    call.missing_since = now if is_new else call.missing_since
    return is_new


def note_known(call: LLMCall) -> None:
    """The provider knows the id again."""
    LLMCall.objects.filter(pk=call.pk, fence=call.fence).update(missing_since=None)
    call.missing_since = None


def close_response(call: LLMCall) -> bool:
    """Nothing will come of the id of a lost call any more: its outcome stays unknown."""
    return _update(call, (State.UNKNOWN,), is_response_open=False)


def _persist(write: Callable[[], bool]) -> bool:
    for pause_s in RECORD_PAUSES_S:
        try:
            return write()
        except (OperationalError, InterfaceError):
            close_old_connections()
            time.sleep(pause_s)
    return write()


def _record(
    call: LLMCall, completion: Completion, problem: str, cost_usd: Decimal, **fields: Any
) -> bool:
    return _settle(
        call,
        state=State.ANSWERED,
        answered_at=timezone.now(),
        answer=_storable(completion.text),
        problem=problem,
        input_tokens=completion.input_tokens,
        output_tokens=completion.output_tokens,
        cost_usd=cost_usd,
        provider_request_id=completion.request_id,
        **fields,
    )


def refuse(call: LLMCall, refusal: str = "") -> bool:
    """Intent or batch → refused: it was certainly not paid and may be sent again.

    `refusal` says what a batch said: nobody was there to be told.
    """
    return _settle(call, state=State.REFUSED, refusal=refusal)


def withdraw(call: LLMCall) -> bool:
    """Batch → refused, if no batch has it yet."""
    waiting = LLMCall.objects.filter(pk=call.pk, fence=call.fence, state=State.BATCH, batch=None)
    with transaction.atomic(durable=True):
        moved = bool(waiting.update(state=State.REFUSED))
        if moved:
            budgets.settle(call, Decimal(0), was_given_up=False)
    return moved


def lose(call: LLMCall, *, may_look: bool = False) -> bool:
    """Intent or batch → unknown: sent, and no answer will be read any more.

    `may_look` where the provider may still have one under the id of its response.
    """
    fields = {"is_response_open": may_look, "kept_seat": None}
    with transaction.atomic(durable=True):
        moved = _update(call, (State.INTENT, State.BATCH), state=State.UNKNOWN, **fields)
        if moved:
            budgets.keep_as_spent(call)
    if moved:
        call.state = State.UNKNOWN
    return moved


def reuse(call: LLMCall) -> None:
    """Count an answer that was not paid for again."""
    LLMCall.objects.filter(pk=call.pk).update(reused_count=F("reused_count") + 1)
    note_saving(call.subject, call)


def read_first(call: LLMCall) -> bool:
    """Whether this is the first look at an answer that came in a batch: it is no reuse then."""
    unread = LLMCall.objects.filter(pk=call.pk, is_unread=True)
    return call.is_unread and bool(unread.update(is_unread=False))


def get_last_moment(call: LLMCall) -> float:
    """Unix time until which it may be sent: an answer that takes its full time still comes within
    the lease.
    """
    return call.intended_at.timestamp() + LEASE_MARGIN_S


def is_under_way(call: LLMCall) -> bool:
    """Whether the process that sent it may still read the answer, or anybody may by its id."""
    if call.is_in_background:
        return True
    if is_gone(call.owner):
        return False
    lease = timedelta(seconds=settings.LLM_TIMEOUT_S + LEASE_MARGIN_S)
    return timezone.now() < call.intended_at + lease


def _settle(call: LLMCall, **fields: Any) -> bool:
    """Intent, batch or unknown → what `fields` say, and the budgets with it.

    False under another fence. From one state after the other: a call that was given up counts
    as spent already.
    """
    cost_usd = Decimal(str(fields.get("cost_usd", 0)))
    fields |= {"is_response_open": False, "kept_seat": None}
    with transaction.atomic(durable=True):
        for state in (State.INTENT, State.BATCH, State.UNKNOWN):
            if _update(call, (state,), **fields):
                budgets.settle(call, cost_usd, was_given_up=state == State.UNKNOWN)
                return True
    return False


def _update(call: LLMCall, allowed: tuple[State, ...], **fields: Any) -> bool:
    """Part of the caller's transaction."""
    unchanged = Q(pk=call.pk, fence=call.fence, state__in=allowed)
    return bool(LLMCall.objects.filter(unchanged).update(**fields))


def _storable(text: str) -> str:
    # Escaped, not mended: what could not be used must not become usable by being stored.
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\u0000")
