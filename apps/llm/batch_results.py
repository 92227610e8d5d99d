"""What a batch brought back: each line settles its call once, whoever reads it how often."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone

from apps.llm import batch_provider, ledger
from apps.llm.batch_lane import NOT_DONE, NOT_RUN
from apps.llm.batch_lines import Line, read_lines, read_name
from apps.llm.batch_models import BatchState, LLMBatch
from apps.llm.batch_provider import FileChanged, RemoteBatch
from apps.llm.models import LLMCall
from apps.llm.output import read_completion
from apps.llm.pricing import get_batch_cost_usd, get_cost_usd
from apps.llm.provider import Completion, Endpoint, LLMError
from apps.llm.step import get_hidden
from apps.pipelines.payload import PrepareError
from apps.pipelines.prepare import PreparedRequest, prepare

State = LLMCall.State
OPEN = (State.BATCH, State.UNKNOWN)  # unknown: of a batch that was given up, and found again
logger = logging.getLogger(__name__)


class SliceOver(Exception):
    """Somebody goes on with it in a moment."""


@dataclass
class Progress:
    """How far the files of a batch are read: the next round begins behind the last whole line."""

    file_id: str = ""
    offset: int = 0
    answers: int = 0  # lines with an answer, or what should be one
    strange: int = 0  # lines of which nobody can tell whose they are

    @classmethod
    def of(cls, batch: LLMBatch, file_ids: list[str]) -> Progress:
        """From the beginning where these are not the files that were read before."""
        kept = cls(**batch.reading) if batch.reading else cls()
        return kept if kept.file_id in file_ids else cls()


class Reader:
    """Reads the files of one batch; what another has settled before is passed over."""

    def __init__(self, batch: LLMBatch, progress: Progress, ends_s: float) -> None:
        rows = batch.calls.values_list("pk", "fence", "state")
        self.names = {f"call-{pk}-{fence}": (pk, fence) for pk, fence, _ in rows}
        self.open = {f"call-{pk}-{fence}" for pk, fence, state in rows if state in OPEN}
        self.told: set[str] = set()  # who had a line: one that comes twice counts once
        self.progress = progress
        self.ends_s = ends_s

    def read(self, endpoint: Endpoint, file_ids: list[str]) -> None:
        """What is left of the files. Raises SliceOver, and `LLMError` where one breaks off."""
        if self.progress.file_id:
            file_ids = file_ids[file_ids.index(self.progress.file_id) :]
        for file_id in file_ids:
            if file_id != self.progress.file_id:
                self.progress.file_id, self.progress.offset = file_id, 0
            self._read_one(endpoint, file_id, self.progress.offset)

    def _read_one(self, endpoint: Endpoint, file_id: str, offset: int) -> None:
        with batch_provider.reading(endpoint, file_id, offset) as chunks:
            for line, size in read_lines(chunks):
                is_new = self._take(line)
                self.progress.offset = offset + size
                # Only here: however slow the file is, each round gets further.
                if is_new and time.monotonic() > self.ends_s:
                    raise SliceOver

    def _take(self, line: Line | None) -> bool:
        """Whether it settled a call."""
        if line is None or not self._is_ours(line.name):
            self.progress.strange += 1
            return False
        if not line.refusal and line.name not in self.told:
            self.progress.answers += 1
        self.told.add(line.name)
        if line.name not in self.open:
            return False
        self.open.remove(line.name)
        settle(*self.names[line.name], line)
        return True

    def _is_ours(self, name: str) -> bool:
        """Whether it is a call of this batch, also one that has been made again since."""
        if name in self.names:
            return True
        row = read_name(name)
        return row is not None and LLMCall.objects.filter(pk=row[0], fence__gt=row[1]).exists()


def read_results(endpoint: Endpoint, batch: LLMBatch, remote: RemoteBatch, ends_s: float) -> None:
    """As much as fits into the time. Raises `LLMError`."""
    file_ids = [each for each in (remote.output_file_id, remote.error_file_id) if each]
    reader = Reader(batch, Progress.of(batch, file_ids), ends_s)
    try:
        reader.read(endpoint, file_ids)
    except SliceOver:
        batch.rest(0, reading=asdict(reader.progress), **count(batch))
        return
    except FileChanged:
        batch.change(reading=None)
        raise
    except LLMError:
        batch.change(reading=asdict(reader.progress))
        raise
    progress, missing = reader.progress, remote.completed > reader.progress.answers
    # What was promised and is missing may be paid, and so may what can't be read.
    is_unclear = remote.status == "completed" or bool(progress.strange) or missing
    settle_left(reader, is_unclear, NOT_RUN if remote.status == "failed" else NOT_DONE)
    problem, counts = describe(remote, progress), count(batch)
    ended = {"state": BatchState.FINISHED, "finished_at": timezone.now(), "problem": problem}
    # Where something is not known, they are what a person may ask the provider about.
    if batch.change(**ended, **counts) and not (progress.strange or counts["lost"]):
        delete_files(endpoint, batch.file_id, *file_ids)


def settle_left(reader: Reader, is_unclear: bool, why: str) -> None:
    """The calls that had no line."""
    for name in sorted(reader.open):
        pk, fence = reader.names[name]
        call = LLMCall.objects.filter(pk=pk, fence=fence).first()
        if call:
            _ = ledger.lose(call) if is_unclear else ledger.refuse(call, why)


def delete_files(endpoint: Endpoint, *file_ids: str) -> None:
    """The ledger has it all. What can't be deleted now, the provider deletes in its own time."""
    for file_id in filter(None, file_ids):
        try:
            batch_provider.delete(endpoint, file_id)
        except LLMError as error:
            logger.info("A file of a batch was not deleted (%s).", error.code)
            return


def describe(remote: RemoteBatch, progress: Progress) -> str:
    """A sentence for the page; empty where all went well."""
    if progress.strange:
        return f"{progress.strange} lines of the results could not be read."
    if remote.completed > progress.answers:
        told = f"The provider counts {remote.completed} answered calls"
        return f"{told} and gave {progress.answers} answers."
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
    else:
        _record(call, line.completion)


def _record(call: LLMCall, completion: Completion) -> None:
    request = _prepare_again(call)
    _, problem, _ = read_completion(completion, request)
    list_usd = get_cost_usd(
        call.model, completion.input_tokens, completion.output_tokens, call.provider
    )
    cost_usd = get_batch_cost_usd(list_usd)
    saved = {"saved_usd": list_usd - cost_usd, "is_unread": True}
    ledger.answer(call, completion, problem, cost_usd, **saved)


def _prepare_again(call: LLMCall) -> PreparedRequest:
    """What the answer is checked against."""
    version, body = call.own_event.pipeline_version, getattr(call.event, "body", None)
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
