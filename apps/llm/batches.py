"""The way of a batch: gathered, uploaded, created, waited for, read.

Each move is on disk before the next request leaves, and each can be made again by another process
but one: creating the batch, which is paid for. Whoever finds that begun asks the provider for a
batch with our mark, and never creates it a second time.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from apps.llm import batch_provider, ledger
from apps.llm.batch_gathering import gather
from apps.llm.batch_lane import NOT_TAKEN
from apps.llm.batch_lines import write_line
from apps.llm.batch_models import BatchState, LLMBatch
from apps.llm.batch_provider import RemoteBatch
from apps.llm.batch_results import read_results
from apps.llm.batch_waking import let_known_go_on, wake
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
LONGEST_PAUSE_S = 3600.0
LOOK_AGAIN_S = 15.0
LOOK_FOR = timedelta(minutes=10)  # that a batch may take to show in the provider's list
LOOK_BACK = timedelta(hours=1)  # clocks differ
PAGES = 50
# A provider ends what it has begun, and keeps it, within minutes of being asked to.
CANCEL_MARGIN = timedelta(minutes=15)
STOPS_WITHIN = timedelta(hours=1)  # from then on nobody waits for one that does not end
WINDOW = timedelta(hours=24)  # that a provider is given for a batch
WINDOW_MARGIN = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=2)  # after its time was up
LOOK_FOR_LOST = 2 * GIVE_UP_AFTER  # after its time was up, in case it shows or ends after all
CALLS_A_ROUND = 500
SAID_NO = "said_no"  # in place of a status: the provider answered the creation with a 5xx
logger = logging.getLogger(__name__)


def run_due() -> None:
    """One round of everything here, in about SLICE_S and the time of one request. Must not run
    inside a transaction."""
    with guarding():
        gather()
    ends_s = time.monotonic() + SLICE_S
    with guarding():
        settle_ended(ends_s)
    for batch in find_work():
        # One step at least, however long the first two took.
        work_on(batch, ends_s)
        if time.monotonic() > ends_s:
            break
    with guarding():
        wake()
        let_known_go_on()


def find_work() -> list[LLMBatch]:
    """Batches to be gone on with, and those to be looked for; first who has waited longest."""
    lost = LLMBatch.find_lost(timezone.now() - LOOK_FOR_LOST)
    found = [*LLMBatch.find_due(), *lost]
    return sorted(found, key=lambda batch: batch.leased_until or batch.created_at)


def work_on(batch: LLMBatch, ends_s: float) -> None:
    """The next step of one batch, if nobody else is at it."""
    if not batch.take(LEASE_S):
        return
    with guarding(batch):
        try:
            STEPS[BatchState(batch.state)](get_endpoint(batch.provider), batch, ends_s)
        except LLMError as error:
            _note(batch, error)
        if batch.faults:
            LLMBatch.objects.filter(pk=batch.pk).update(faults=0)


@contextmanager
def guarding(batch: LLMBatch | None = None) -> Iterator[None]:
    """A fault of ours in here ends this step only: logged, and shown with the batch."""
    try:
        yield
    except (OperationalError, InterfaceError):
        raise  # the database is away, for everybody
    except Exception as error:  # noqa: BLE001 - a fault in one batch must not stop all the others
        what = f"batch {batch.pk}" if batch else "all batches"
        # Neither its text nor the values: they may quote a prompt.
        logger.error("A fault in the work on %s: %s", what, describe_fault(error))
        if batch:
            _note_fault(batch, type(error).__name__)


def describe_fault(error: Exception) -> str:
    """`KeyError at batches.py:12 batch_results.py:34`."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}"


def _note_fault(batch: LLMBatch, name: str) -> None:
    """It is tried again, each time later, until its time is over as for any other failure."""
    faults = batch.faults + 1
    pause_s = min(PAUSE_S * 2 ** min(faults, 10), LONGEST_PAUSE_S)
    if batch.change(faults=faults):
        sentence = f"A fault of ours ({name}): the log of the periodic tasks says where."
        _note(batch, ProviderFailed(sentence, retry_after_s=pause_s))


def _upload(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    if batch.had_its_try:
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
    if batch.had_its_try:
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
    if batch.cancelled_at and timezone.now() - batch.cancelled_at > STOPS_WITHIN:
        lose(batch, "It was asked to stop an hour ago, and the provider has not ended it.")
        return
    problem = _stop(endpoint, batch, remote) if _is_over(batch) else ""
    batch.rest(settings.LLM_BATCH_POLL_S, problem=problem)


def _is_over(batch: LLMBatch) -> bool:
    """Whether its answers are due, or it has had the time that a provider is given for it."""
    begun_at = batch.creating_at or batch.created_at
    return batch.is_late(CANCEL_MARGIN) or timezone.now() - begun_at > WINDOW + WINDOW_MARGIN


def _stop(endpoint: Endpoint, batch: LLMBatch, remote: RemoteBatch) -> str:
    """Ask it to end, at each look until it says that it does; what went wrong, or nothing."""
    # On record first: one that can't be stopped is not waited for any longer than others.
    if not (batch.cancelled_at or batch.change(cancelled_at=timezone.now())):
        return ""
    if remote.status == "cancelling":
        return ""
    try:
        batch_provider.cancel(endpoint, batch.batch_id)
    except LLMError as error:
        return f"It could not be stopped: {error}"[:200]
    return ""


def _look_for_lost(endpoint: Endpoint, batch: LLMBatch, ends_s: float) -> None:
    """It was given up; if it shows or ends after all, its answers were paid, and are read."""
    if batch.batch_id:
        found = batch_provider.retrieve(endpoint, batch.batch_id)
        remote = found if found.has_ended else None
    else:
        remote = find_by_mark(endpoint, batch)
    if remote and batch.change(finished_at=None):
        _adopt(batch, remote)
    else:
        batch.rest(LOOK_FOR.total_seconds())


STEPS: dict[BatchState, Callable[[Endpoint, LLMBatch, float], None]] = {
    BatchState.GATHERED: _upload,
    BatchState.UPLOADED: _create,
    BatchState.CREATING: _look_up,
    BatchState.RUNNING: _poll,
    BatchState.UNKNOWN: _look_for_lost,
}


def _note(batch: LLMBatch, error: LLMError) -> None:
    """What could not be done is done later, or not at all."""
    is_sent = batch.state in (BatchState.CREATING, BatchState.RUNNING)
    if batch.state == BatchState.UNKNOWN:
        batch.rest(LOOK_FOR.total_seconds())
    elif not is_sent and (isinstance(error, ProviderRefused) or batch.had_its_try):
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


def settle_ended(ends_s: float | None = None) -> None:
    """Calls whose batch has ended without them; also those that a killed process left."""
    left = LLMCall.objects.filter(state=LLMCall.State.BATCH).select_related("batch")
    for call in left.filter(batch__state__in=(BatchState.REFUSED, BatchState.UNKNOWN))[
        :CALLS_A_ROUND
    ]:
        if call.batch and call.batch.state == BatchState.REFUSED:
            ledger.refuse(call, NOT_TAKEN)
        else:
            ledger.lose(call)
        if ends_s and time.monotonic() > ends_s:
            return
