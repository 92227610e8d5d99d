"""The way of a batch: gathered, uploaded, created, waited for, read.

Each move is on disk before the next request leaves, and each can be made again by another process
but one: creating the batch, which is paid for. Whoever finds that begun asks the provider for a
batch with our mark, and never creates it a second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from apps.llm import batch_provider, ledger
from apps.llm.batch_gathering import gather
from apps.llm.batch_lane import NOT_TAKEN
from apps.llm.batch_lines import write_line
from apps.llm.batch_models import BatchState, LLMBatch
from apps.llm.batch_provider import RemoteBatch
from apps.llm.batch_results import read_results
from apps.llm.batch_waking import wake
from apps.llm.endpoints import get_endpoint
from apps.llm.models import LLMCall
from apps.llm.provider import (
    Endpoint,
    LLMError,
    OutcomeUnknown,
    ProviderFailed,
    ProviderRefused,
)

SLICE_S = 4.0
LEASE_S = 180.0  # longer than any request takes
SEND_WITHIN_S = 10.0
PAUSE_S = 30.0  # before what failed is tried again
LOOK_AGAIN_S = 15.0
LOOK_FOR = timedelta(minutes=10)  # that a batch may take to show in the provider's list
LOOK_BACK = timedelta(hours=1)  # clocks differ
PAGES = 50
# A provider ends what it has begun, and keeps it, within minutes of being asked to.
CANCEL_MARGIN = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(days=2)  # after its time was up
CALLS_A_ROUND = 500
SAID_NO = "said_no"  # in place of a status: the provider answered the creation with a 5xx
logger = logging.getLogger(__name__)


def run_due() -> None:
    """One round of everything here. Must not run inside a transaction."""
    gather()
    settle_ended()
    ends_s = time.monotonic() + SLICE_S
    for batch in LLMBatch.find_due():
        if time.monotonic() < ends_s:
            work_on(batch, ends_s)
    look_for_lost()
    wake()


def work_on(batch: LLMBatch, ends_s: float) -> None:
    """The next step of one batch, if nobody else is at it."""
    if not batch.take(LEASE_S):
        return
    try:
        STEPS[BatchState(batch.state)](get_endpoint(batch.provider), batch, ends_s)
    except LLMError as error:
        _note(batch, error)


def _upload(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    if timezone.now() - batch.created_at > (batch.due_at - batch.created_at) / 2:
        give_back(batch, "The provider did not take it in time.")
        return
    calls = batch.calls.filter(state=LLMCall.State.BATCH).order_by("pk")
    lines = b"".join(write_line(call) for call in calls.iterator())
    if not lines:
        batch.change(state=BatchState.FINISHED, finished_at=timezone.now())
        return
    file_id = batch_provider.upload(endpoint, lines)
    if batch.change(state=BatchState.UPLOADED, file_id=file_id):
        _create(endpoint, batch, ends_s)


def _create(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    now = timezone.now()
    if not batch.change(state=BatchState.CREATING, creating_at=now, provider_status=""):
        return
    send_before = now.timestamp() + SEND_WITHIN_S
    try:
        remote = batch_provider.create(endpoint, batch.file_id, batch.id.hex, send_before)
    except OutcomeUnknown as error:
        batch.rest(LOOK_AGAIN_S, problem=str(error)[:200])
        return
    except ProviderFailed as error:
        # It was refused; but a gateway may say so of what went through, and looking is free.
        batch.rest(LOOK_AGAIN_S, provider_status=SAID_NO, problem=str(error)[:200])
        return
    except ProviderRefused as error:
        give_back(batch, str(error))
        return
    except LLMError as error:
        _rest_uploaded(batch, error.retry_after_s or PAUSE_S, str(error))
        return
    _adopt(batch, remote)


def _rest_uploaded(batch: LLMBatch, seconds: float, problem: str = "") -> None:
    """Certainly not created: it may be tried again, as long as there is time."""
    if timezone.now() - batch.created_at > (batch.due_at - batch.created_at) / 2:
        give_back(batch, "The provider did not take it in time.")
        return
    fields = {"creating_at": None, "provider_status": "", "problem": problem[:200]}
    batch.rest(seconds, state=BatchState.UPLOADED, **fields)


def _adopt(batch: LLMBatch, remote: RemoteBatch) -> None:
    batch.rest(
        settings.LLM_BATCH_POLL_S,
        state=BatchState.RUNNING,
        batch_id=remote.id,
        provider_status=remote.status,
        problem="",
    )


def _look_up(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    """Somebody has begun to create it, and has not said how that ended."""
    if remote := find_by_mark(endpoint, batch):
        _adopt(batch, remote)
    elif batch.creating_at and timezone.now() - batch.creating_at < LOOK_FOR:
        batch.rest(LOOK_AGAIN_S)
    elif batch.provider_status == SAID_NO:
        _rest_uploaded(batch, 0)
    else:
        lose(batch, "It was sent, and the provider's list does not show it.")


def find_by_mark(endpoint: Endpoint, batch: LLMBatch) -> RemoteBatch | None:
    """The batch with our mark among the provider's newest. Raises `LLMError`."""
    begun_at = batch.creating_at or batch.created_at
    oldest = (begun_at - LOOK_BACK).timestamp()
    after = ""
    for _ in range(PAGES):
        page, has_more = batch_provider.list_page(endpoint, after)
        for remote in page:
            if remote.mark == batch.id.hex:
                return remote
        if not has_more or not page or 0 < page[-1].created_at < oldest:
            return None
        after = page[-1].id
    raise ProviderFailed("The provider has too many batches to look through.")


def _poll(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    remote = batch_provider.retrieve(endpoint, batch.batch_id)
    if not batch.change(provider_status=remote.status, problem=""):
        return
    if remote.has_ended:
        read_results(endpoint, batch, remote, ends_s)
        return
    if batch.is_late(CANCEL_MARGIN) and not batch.cancelled_at:
        batch_provider.cancel(endpoint, batch.batch_id)
        batch.change(cancelled_at=timezone.now())
    batch.rest(settings.LLM_BATCH_POLL_S)


STEPS: dict[BatchState, Callable[[Endpoint, LLMBatch, float], None]] = {
    BatchState.GATHERED: _upload,
    BatchState.UPLOADED: _create,
    BatchState.CREATING: _look_up,
    BatchState.RUNNING: _poll,
}


def _note(batch: LLMBatch, error: LLMError) -> None:
    """What could not be done is done later, or not at all."""
    is_sent = batch.state in (BatchState.CREATING, BatchState.RUNNING)
    if not is_sent and isinstance(error, ProviderRefused):
        give_back(batch, str(error))
    elif is_sent and batch.is_late(-GIVE_UP_AFTER):
        lose(batch, str(error))
    else:
        batch.rest(error.retry_after_s or PAUSE_S, problem=str(error)[:200])


def give_back(batch: LLMBatch, problem: str) -> None:
    """It was never created: its calls are made directly."""
    logger.warning("A batch of %d calls was not taken: %s", batch.size, problem)
    ended = {"finished_at": timezone.now(), "problem": problem[:200], "refused": batch.size}
    # First the batch, then its calls: none of them may be sent while it could still be created.
    if batch.change(state=BatchState.REFUSED, **ended):
        settle_ended()


def lose(batch: LLMBatch, problem: str) -> None:
    """Nobody knows whether its calls were, or will be, paid: their events are held."""
    logger.error("Nobody knows what became of a batch of %d calls: %s", batch.size, problem)
    left = batch.waiting
    ended = {"finished_at": timezone.now(), "problem": problem[:200], "lost": left}
    if batch.change(state=BatchState.UNKNOWN, **ended):
        settle_ended()


def settle_ended() -> None:
    """Calls whose batch has ended without them; also those that a killed process left."""
    left = LLMCall.objects.filter(state=LLMCall.State.BATCH).select_related("batch")
    for call in left.filter(batch__state=BatchState.REFUSED)[:CALLS_A_ROUND]:
        ledger.refuse(call, NOT_TAKEN)
    for call in left.filter(batch__state=BatchState.UNKNOWN)[:CALLS_A_ROUND]:
        ledger.lose(call)


def look_for_lost() -> None:
    """A batch that was given up, and shows after all: its answers were paid, and are read."""
    since = timezone.now() - GIVE_UP_AFTER
    lost = LLMBatch.objects.filter(state=BatchState.UNKNOWN, batch_id="", creating_at__gt=since)
    for batch in lost.exclude(leased_until__gt=timezone.now()):
        if not batch.take(LEASE_S):
            continue
        try:
            remote = find_by_mark(get_endpoint(batch.provider), batch)
        except LLMError:
            remote = None
        if remote:
            batch.change(finished_at=None)
            _adopt(batch, remote)
        else:
            batch.rest(LOOK_FOR.total_seconds())
