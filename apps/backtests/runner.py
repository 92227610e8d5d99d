"""Works on backtests, a few seconds at a time: one call after the other, under the cap."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from apps.backtests.comparison import check_expected, compare_answers, get_label
from apps.backtests.models import Backtest, BacktestRow, RowState
from apps.llm.chain import build_chain, get_most_usd
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.llm.trial import Trial, find_known, try_once
from apps.pipelines.models import PipelineVersion
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import PreparedRequest, prepare
from apps.pipelines.samples import read_body
from workers.contracts import Verdict

SLICE_S = 4.0
BODY_GONE = "The body has been deleted, by a person or after its retention time."


def run_due() -> None:
    """Go on with each backtest that nobody works on. Must not run inside a transaction."""
    for backtest in Backtest.find_due():
        run(backtest)


def run(backtest: Backtest, slice_s: float = SLICE_S) -> None:
    """Rows that wait, in order, until the slice is over or something stops it."""
    if not backtest.take():
        return
    version = backtest.get_version()
    ends = time.monotonic() + slice_s
    for row in backtest.rows.filter(state=RowState.WAITING).select_related("event", "sample"):
        if time.monotonic() > ends:
            backtest.rest()
            return
        if not backtest.beat():
            return
        try:
            _run_row(backtest, version, row)
        except LLMError as error:
            if error.verdict == Verdict.WAIT:
                backtest.rest(error.retry_after_s or 1.0)
            else:
                backtest.stop(str(error))
            return
        except CapReached as reached:
            backtest.stop(str(reached))
            return
    backtest.finish()


class CapReached(Exception):
    """The next call may cost more than is left of the cap."""

    code = "backtest_cap_reached"
    permanent = True
    retry_after_s: float | None = None


def _run_row(backtest: Backtest, version: PipelineVersion, row: BacktestRow) -> None:
    """Raises CapReached, and the LLMErrors that concern every row."""
    body = read_body(row.subject)
    if body is None:
        row.record(RowState.FAILED, problem=BODY_GONE)
        return
    known = _get_known(backtest, row, *body)
    try:
        request = prepare(version, *body)
    except PrepareError as error:
        row.record(RowState.FAILED, problem=str(error), **known)
        return
    if request is None:
        row.record(RowState.FILTERED, **known)
        return
    most_usd = _check_cap(backtest, row, build_chain(version, request))
    try:
        trial = try_once(row.subject, version, request, backtest.step, again=False)
    except OutcomeUnknown as error:
        # It may have been paid: it counts, and is never sent again by itself.
        row.record(RowState.FAILED, problem=str(error), cost_usd=most_usd, **known)
        return
    except LLMError as error:
        if error.verdict in (Verdict.WAIT, Verdict.HELD) or error.code == "llm_not_configured":
            raise
        row.record(RowState.FAILED, problem=str(error), **known)
        return
    _record(backtest, row, trial, known)


def _get_known(
    backtest: Backtest, row: BacktestRow, raw: bytes, content_type: str
) -> dict[str, Any]:
    """What is right, and what the event says now."""
    if row.sample:
        return {"label": row.sample.expected}
    label = get_label(backtest.label_path, raw, content_type)
    return {"label": label, "old_answer": row.event.answer if row.event else None}


def _check_cap(backtest: Backtest, row: BacktestRow, chain: list[PreparedRequest]) -> Decimal:
    """The most that this call may cost, 0 where its answer is on record already."""
    if find_known(row.subject, chain, backtest.step):
        return Decimal(0)
    most_usd = get_most_usd(chain)
    if backtest.get_spent_usd() + most_usd > backtest.cap_usd:
        raise CapReached(
            f"The next call may cost ${most_usd}, more than is left of the cap of "
            f"${backtest.cap_usd}."
        )
    return most_usd


def _record(backtest: Backtest, row: BacktestRow, trial: Trial, known: dict[str, Any]) -> None:
    # Of a process that died after the call: it was this backtest that paid.
    before_usd = _get_paid_usd(backtest, row) if trial.is_reused else Decimal(0)
    paid = {
        "cost_usd": trial.cost_usd + before_usd,
        "latency_s": trial.latency_s,
        "is_reused": trial.is_reused and not before_usd,
        "route": trial.route,
    }
    if trial.problem:
        row.record(RowState.FAILED, problem=trial.problem, **paid, **known)
        return
    if row.sample:
        found = check_expected(trial.answer, known["label"])
    else:
        old, label = known["old_answer"], known["label"]
        found = compare_answers(old, trial.answer, label, backtest.answer_path)
    row.record(RowState.ANSWERED, answer=trial.answer, **found, **paid, **known)


def _get_paid_usd(backtest: Backtest, row: BacktestRow) -> Decimal:
    """What calls for this row have cost since the backtest began."""
    calls = row.subject.llm_calls.filter(step=backtest.step, intended_at__gte=backtest.created_at)
    total: Decimal | None = calls.aggregate(total=Sum("cost_usd"))["total"]
    return total or Decimal(0)
