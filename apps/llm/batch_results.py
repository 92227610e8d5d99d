"""What a batch brought back: each line settles its call once, whoever reads it how often."""

from __future__ import annotations

import logging
import time
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from apps.events.models import Event, Status
from apps.events.workflow_client import start_now
from apps.llm import batch_provider, ledger
from apps.llm.batch_lane import NOT_DONE, NOT_RUN
from apps.llm.batch_lines import Line, read_lines
from apps.llm.batch_models import BatchState, LLMBatch
from apps.llm.batch_provider import RemoteBatch
from apps.llm.models import LLMCall
from apps.llm.output import read_completion
from apps.llm.pricing import get_batch_cost_usd, get_cost_usd
from apps.llm.provider import Completion, Endpoint, LLMError, OutcomeUnknown
from apps.llm.step import get_hidden
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import PreparedRequest, prepare
from workers.contracts import EventRun

State = LLMCall.State
OPEN = (State.BATCH, State.UNKNOWN)  # unknown: of a batch that was given up, and found again


logger = logging.getLogger(__name__)


class SliceOver(Exception):
    """Somebody goes on with it in a moment."""


class Reader:
    """Reads the files of one batch; what another has settled before is passed over."""

    def __init__(self, batch: LLMBatch, ends_s: float) -> None:
        rows = batch.calls.values_list("pk", "fence", "state")
        self.names = {f"call-{pk}-{fence}": (pk, fence) for pk, fence, _ in rows}
        self.open = {f"call-{pk}-{fence}" for pk, fence, state in rows if state in OPEN}
        self.strange = 0  # lines of which nobody can tell whose they are
        self.ends_s = ends_s

    def read(self, endpoint: Endpoint, file_id: str) -> None:
        """Raises SliceOver, and `LLMError` where the file breaks off."""
        with batch_provider.reading(endpoint, file_id) as chunks:
            for line in read_lines(chunks):
                if line is None or line.name not in self.names:
                    self.strange += 1
                elif line.name in self.open:
                    self.open.remove(line.name)
                    settle(*self.names[line.name], line)
                    # Only here: however slow the file is, each round gets further.
                    if time.monotonic() > self.ends_s:
                        raise SliceOver


def read_results(endpoint: Endpoint, batch: LLMBatch, remote: RemoteBatch, ends_s: float) -> None:
    """As much as fits into the time. Raises `LLMError`."""
    reader = Reader(batch, ends_s)
    try:
        for file_id in (remote.output_file_id, remote.error_file_id):
            if file_id:
                reader.read(endpoint, file_id)
    except SliceOver:
        batch.rest(0, **count(batch))
        return
    # What was promised and is missing may be paid, and so may what can't be read.
    is_unclear = remote.status == "completed" or bool(reader.strange)
    why = NOT_RUN if remote.status == "failed" else NOT_DONE
    for name in sorted(reader.open):
        pk, fence = reader.names[name]
        call = LLMCall.objects.filter(pk=pk, fence=fence).first()
        if call:
            _ = ledger.lose(call) if is_unclear else ledger.refuse(call, why)
    problem, counts = describe(remote, reader), count(batch)
    ended = {"state": BatchState.FINISHED, "finished_at": timezone.now(), "problem": problem}
    # Where something is not known, they are what a person may ask the provider about.
    if batch.change(**ended, **counts) and not (reader.strange or counts["lost"]):
        delete_files(endpoint, batch.file_id, remote.output_file_id, remote.error_file_id)


def delete_files(endpoint: Endpoint, *file_ids: str) -> None:
    """The ledger has it all. What can't be deleted now, the provider deletes in its own time."""
    for file_id in filter(None, file_ids):
        try:
            batch_provider.delete(endpoint, file_id)
        except LLMError as error:
            logger.info("A file of a batch was not deleted (%s).", error.code)
            return


def describe(remote: RemoteBatch, reader: Reader) -> str:
    """A sentence for the page; empty where all went well."""
    if reader.strange:
        return f"{reader.strange} lines of the results could not be read."
    if remote.status == "failed":
        return f"The provider did not run it: {remote.error_code or 'it does not say why'}."
    if remote.status == "expired":
        return "The provider did not finish it in 24 hours."
    return "It was stopped, as time was up." if remote.status == "cancelled" else ""


def settle(pk: int, fence: int, line: Line) -> None:
    """What a direct call does with its answer, at the price of a batch."""
    related = LLMCall.objects.select_related("event__pipeline_version", "event__body")
    call = related.filter(pk=pk, fence=fence).first()
    if call is None:
        return  # deleted with its event, or made again since: this line is none of its business
    if line.refusal:
        ledger.refuse(call, line.refusal)
    elif line.completion is None:
        ledger.lose(call)
    elif _record(call, line.completion) and call.state == State.UNKNOWN:
        _let_go_on(call.event)


def _record(call: LLMCall, completion: Completion) -> bool:
    request = _prepare_again(call)
    _, problem, _ = read_completion(completion, request)
    list_usd = get_cost_usd(
        call.model, completion.input_tokens, completion.output_tokens, call.provider
    )
    cost_usd = get_batch_cost_usd(list_usd)
    saved = {"saved_usd": list_usd - cost_usd, "is_unread": True}
    return ledger.answer(call, completion, problem, cost_usd, **saved)


def _prepare_again(call: LLMCall) -> PreparedRequest:
    """What the answer is checked against."""
    version, body = call.event.pipeline_version, getattr(call.event, "body", None)
    plain = PreparedRequest(call.request, call.request_hash, version.output_schema)
    try:
        again = prepare(version, bytes(body.raw), body.content_type) if body else None
    except PrepareError:
        again = None
    if again is None:
        return plain
    return PreparedRequest(
        call.request, call.request_hash, again.output_schema, hidden=get_hidden(call, again)
    )


def _let_go_on(event: Event) -> None:
    """It was held because nobody knew; now it is known."""
    is_held = event.status == Status.HELD and event.error_code == OutcomeUnknown.code
    if is_held and event.go_on():
        start_now([EventRun(event.pk.hex, event.run)])


def count(batch: LLMBatch) -> dict[str, Any]:
    """What came of its calls until now. One that goes again belongs to another batch, or none."""
    sums = batch.calls.aggregate(
        answered=Count("pk", filter=Q(state=State.ANSWERED)),
        lost=Count("pk", filter=Q(state=State.UNKNOWN)),
        waiting=Count("pk", filter=Q(state=State.BATCH)),
        cost_usd=Sum("cost_usd"),
        saved_usd=Sum("saved_usd"),
    )
    sums = {name: value or Decimal(0) for name, value in sums.items()}
    waiting = sums.pop("waiting")
    return sums | {"refused": max(0, batch.size - waiting - sums["answered"] - sums["lost"])}
