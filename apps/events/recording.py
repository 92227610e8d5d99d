"""How an attempt ended, written down: the attempt and the event's change, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any, Protocol

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from prometheus_client import Counter

from apps.approvals import waiting
from apps.approvals.models import Approval
from apps.dashboard.live import announce
from apps.events.models import Attempt, Event, Step
from workers.contracts import RETRY_AFTER_MAX_S, StepResult, Verdict

ATTEMPTS = Counter("pipeline_attempts", "Attempts by step and how they ended", ["step", "outcome"])
Outcome = Attempt.Outcome
OUTCOMES = {
    Verdict.FAILED: Outcome.FAILED,
    Verdict.WAIT: Outcome.WAITED,
    Verdict.NEVER: Outcome.PERMANENT,
    Verdict.HELD: Outcome.HELD,
    Verdict.PARKED: Outcome.WAITED,
}
GONE = StepResult(Verdict.GONE)


class StepError(Protocol):
    """What every error of a step carries. Its text is a sentence of ours, without payload."""

    code: str
    retry_after_s: float | None
    http_status: int | None

    @property
    def verdict(self) -> Verdict: ...


@dataclass(frozen=True)
class Try:
    """The attempt that is being made."""

    step: Step
    number: int  # 1..5
    started_at: datetime


def record_answer(
    event: Event,
    tried: Try,
    answer: object,
    *,
    cost_usd: Decimal,
    reused: bool,
    route: dict[str, Any] | None = None,
) -> StepResult:
    """A model answered, or had answered this request before: `route` says which.

    Where the pipeline wants a person's yes, the event is held with it, unless there is one already.
    """
    taken = Approval.find_taken(event, answer) if event.run > 1 else None
    reason = "" if taken else waiting.find_hold(event, answer)
    with transaction.atomic():
        if reason:
            kept = event.hold_answer(answer, get_cost(event), reason)
        else:
            kept = event.keep_answer(taken.final_answer if taken else answer, get_cost(event))
        if not kept:
            return GONE
        outcome = Outcome.REUSED if reused else Outcome.OK
        _write(event, tried, outcome, cost_usd=cost_usd, route=route)
        if reason:
            waiting.hold(event, answer, reason)
    return StepResult(Verdict.APPROVAL if reason else Verdict.DONE, tried.step)


def record_delivery(event: Event, tried: Try, http_status: int | None) -> StepResult:
    """The destination has it: the event is finished."""
    with transaction.atomic():
        if not event.deliver():
            return GONE
        _write(event, tried, Outcome.OK, http_status=http_status)
    return StepResult(Verdict.DONE, tried.step)


def record_filtered(event: Event, tried: Try) -> StepResult:
    """The pipeline's filter does not want it: the event is finished."""
    with transaction.atomic():
        if not event.filter_out():
            return GONE
        _write(event, tried, Outcome.OK)
    return StepResult(Verdict.FILTERED, tried.step)


def record_failure(
    event: Event, tried: Try, error: StepError, route: dict[str, Any] | None = None
) -> StepResult:
    """The attempt did not succeed; what follows is the error's own decision."""
    with transaction.atomic():
        if not _note(event, tried.step, error):
            return GONE
        outcome = OUTCOMES[error.verdict]
        if not (outcome == Outcome.WAITED and _wait_longer(event, tried)):
            _write(
                event,
                tried,
                outcome,
                error_code=error.code[:60],
                error=str(error)[:500],
                http_status=error.http_status,
                route=route,
            )
    return StepResult(error.verdict, tried.step, error.code, error.retry_after_s)


def _note(event: Event, step: Step, error: StepError) -> bool:
    if error.verdict == Verdict.HELD:
        return event.hold(step, error.code, str(error))
    waiting_until = None
    if error.verdict != Verdict.NEVER and error.retry_after_s:
        longest_s = inf if error.verdict == Verdict.PARKED else RETRY_AFTER_MAX_S
        wait_s = min(error.retry_after_s, longest_s)
        waiting_until = timezone.now() + timedelta(seconds=wait_s)
    return event.note_failure(step, error.code, str(error), waiting_until)


def record_burial(event: Event, step: Step, code: str) -> bool:
    """No attempt is left, or none would help: a dead letter, with the last failure's text."""
    moved = event.bury(step, code, event.error)
    if moved:
        announce("events")
    return moved


def get_cost(event: Event) -> Decimal:
    """What the ledger says the event has cost, in US dollars; also for answers nobody could use."""
    total: Decimal | None = event.llm_calls.own().aggregate(total=Sum("cost_usd"))["total"]
    return total or Decimal(0)


def _wait_longer(event: Event, tried: Try) -> bool:
    """Prolong the wait that is noted already: an hour of waiting is one line, not a thousand."""
    waits = event.attempts.filter(
        run=event.run, step=tried.step, number=tried.number, outcome=Outcome.WAITED
    )
    return bool(waits.update(finished_at=timezone.now()))


def _write(event: Event, tried: Try, outcome: Attempt.Outcome, **fields: Any) -> None:
    Attempt.objects.create(
        event=event,
        run=event.run,
        step=tried.step,
        number=tried.number,
        started_at=tried.started_at,
        outcome=outcome,
        **fields,
    )
    transaction.on_commit(lambda: _tell(tried.step, outcome))


def _tell(step: Step, outcome: Attempt.Outcome) -> None:
    ATTEMPTS.labels(step=step.value, outcome=outcome.value).inc()
    announce("events")
