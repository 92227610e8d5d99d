"""What the LLM step raises beside the errors of the provider."""

from __future__ import annotations

from decimal import Decimal

from apps.llm.output import PROBLEMS
from apps.llm.provider import LLMError, OutcomeUnknown
from apps.pipelines.models import PipelineVersion
from workers.contracts import Verdict

OnUnknown = PipelineVersion.OnUnknown


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


class AnswerStopped(LLMError):
    """Paid, and broken off before there was an answer: another call may be answered, and is paid
    too. So the pipeline's policy decides, as on a call of unknown outcome; `code` says who stopped.
    """

    def __init__(self, problem: str, version: PipelineVersion) -> None:
        is_held = version.on_unknown == OnUnknown.HOLD
        what = "A retry asks, and pays, again." if is_held else "The pipeline asks again."
        super().__init__(f"{PROBLEMS[problem]} {what}", code=problem)
        self.verdict = Verdict.HELD if is_held else Verdict.FAILED
