"""Which calls wait for a batch, until when, and what their event is told meanwhile.

A pipeline version says how many hours an answer may wait. In the first half of that time a call
goes in a batch; what is left of the second half belongs to direct calls, so that the answer is
there in time although a batch failed. A repair goes the same way as the call that it repairs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from apps.events.models import PARKED, Event
from apps.llm.models import LLMCall
from apps.llm.provider import RETRYABLE_STATUSES, LLMError, ProviderRefused
from apps.pipelines.models import PipelineVersion
from workers.contracts import Verdict

MAX_BATCHES = 3  # so often one call goes in a batch before it is made directly
LATE_WAIT_S = 60.0  # between two looks at a batch whose time is over
# Why a call came back unpaid. After the first, a provider's batches are not asked again.
NOT_TAKEN, NOT_RUN, NOT_DONE = "not_taken", "not_run", "not_done"
HTTP = "http_"


class WaitsInBatch(LLMError):
    """The call is in a batch, or will be: its event needs no worker and no workflow for hours."""

    code = PARKED
    verdict = Verdict.PARKED
    message = "The call waits in a batch of the provider, at a lower price. It goes on by itself."

    def __init__(self, due_at: datetime) -> None:
        left_s = (due_at - timezone.now()).total_seconds()
        super().__init__(retry_after_s=max(left_s, LATE_WAIT_S))


def get_due(event: Event, version: PipelineVersion, calls: list[LLMCall]) -> datetime | None:
    """Until when the answer may wait in a batch; None where the call is to be made directly.

    `calls` are all of the event. Where batches had their try with one model, the next one is asked
    directly: its answer would come later than promised.
    """
    if not version.may_wait_h:
        return None
    wait = timedelta(hours=version.may_wait_h)
    mine = [call for call in calls if call.run == event.run]
    now = timezone.now()
    due_at = min((call.due_at for call in mine if call.due_at), default=now + wait)
    is_used_up = any(_is_used_up(call) for call in mine)
    return None if is_used_up or due_at - now < wait / 2 else due_at


def _is_used_up(call: LLMCall) -> bool:
    """Whether batches had their try. A call that was made directly since is made so again."""
    was_made_directly = call.batch_count > 0 and call.due_at is None
    return was_made_directly or call.batch_count >= MAX_BATCHES or call.refusal == NOT_TAKEN


def check_refusal(call: LLMCall, event: Event) -> None:
    """Raises `ProviderRefused` where a batch's provider has refused this very request for good."""
    status = get_status(call.refusal)
    if status and not is_worth_another_try(status) and call.run == event.run:
        message = f"The provider refused the request (HTTP {status})."
        raise ProviderRefused(message, http_status=status)


def get_status(refusal: str) -> int:
    """The HTTP status of a line in a batch; 0 where it had none."""
    return int(refusal.removeprefix(HTTP)) if refusal.startswith(HTTP) else 0


def is_worth_another_try(status: int) -> bool:
    """As for a direct call. Of a line, the provider itself says that it was not answered."""
    return status >= 500 or status in (408, 429, *RETRYABLE_STATUSES)
