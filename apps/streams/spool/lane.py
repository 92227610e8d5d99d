"""What waits for one shard: taken in order, fsynced in groups, fed in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from django.conf import settings

from apps.streams.errors import QueueDown, QueueError
from apps.streams.spool import metrics
from apps.streams.spool.disk import Disk
from apps.streams.spool.records import Found, Record, encode
from apps.streams.spool.segments import Segment

if TYPE_CHECKING:
    from apps.streams.appender import Answer

# One write and one fsync for up to so many bytes; a file is closed when it has grown to as many.
COMMIT_BYTES = SEGMENT_BYTES = 4 * 1_048_576
# Duplicates of more waiting events are found by the queue server, when they are fed.
KNOWN_MAX = 100_000
# The rest waits at the sender, instead of in our memory.
PENDING_MAX = 10_000
EXPIRE_INTERVAL_S = 0.05
# Longest wait of an event that comes straight here for the disk; what has waited for the queue
# before has less time, because every sender has an answer within 2 s.
PATIENCE_S = 1.4
ANSWER_WITHIN_S, QUEUE_TIMEOUT_SLACK_S, PATIENCE_MIN_S = 1.9, 0.1, 0.2


class Known:
    """The first waiting event of a dedup key."""

    __slots__ = ("body_digest", "event_id", "is_stored")

    def __init__(self, record: Record, *, is_stored: bool = False) -> None:
        self.event_id, self.body_digest = record.event_id, record.body_digest
        self.is_stored = is_stored


class Item:
    """An event whose sender waits. `record` is None for a duplicate, which waits for `earlier`."""

    __slots__ = ("answer", "deadline", "earlier", "error", "known", "record")

    def __init__(self, answer: Answer, error: QueueError, deadline: float) -> None:
        self.answer, self.error, self.deadline = answer, error, deadline
        self.record: Record | None = None
        self.known: Known | None = None
        self.earlier: Known | None = None

    def succeed(self) -> None:
        earlier = self.earlier if self.earlier and self.earlier.is_stored else None
        if self.record is None and earlier is None:
            self.fail()
        elif not self.answer.done():
            self.answer.set_result(earlier.event_id if earlier else b"")

    def fail(self) -> None:
        """With what the queue said, so that the sender tries again."""
        if not self.answer.done():
            self.answer.set_exception(self.error.__class__(str(self.error)))


class Lane:
    """The events of one shard that are on this process's disk, and those on the way there."""

    def __init__(
        self,
        name: str,
        disk: Disk,
        on_wait: Callable[[], None],
        pace: Callable[[int], Awaitable[None]],
    ) -> None:
        self.name = name
        self.segments: deque[Segment] = deque()  # oldest first; the last one may be open
        self.waiting = 0  # events that are neither in the queue nor refused
        self._disk = disk
        self._on_wait = on_wait  # called when the first event begins to wait
        self._pace = pace  # waits between two groups, told how many the first had
        self.written = asyncio.Event()  # set whenever a group is on disk, or lost
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._open: Segment | None = None
        self._known: dict[bytes, Known] = {}
        self._pending: deque[Item] = deque()
        self._in_write: list[Item] = []
        self._writer: asyncio.Task[None] | None = None

    # --- Taking in -----------------------------------------------------------------------------

    def take(
        self,
        record: Record,
        error: QueueError,
        answer: Answer | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Answer:
        """Keep an event on disk: the answer comes after the fsync, as the queue would give it.

        Raises a copy of `error`, which is what the queue said, where the spool can't take it; the
        answer gets it where that shows later.
        """
        answer = answer or self._loop.create_future()
        item = Item(answer, error, self._loop.time() + patience_s)
        earlier = self._known.get(record.dedup_key)
        if earlier is not None and earlier.body_digest == record.body_digest:
            if earlier.is_stored:
                if not answer.done():
                    answer.set_result(earlier.event_id)
                return answer
            item.earlier = earlier
        else:
            self._add(item, record, earlier)
        self._pending.append(item)
        if self._writer is None:
            self._writer = self._loop.create_task(self._write())
            self._loop.call_later(EXPIRE_INTERVAL_S, self._expire)
        return answer

    def rescue(
        self, records: Sequence[Record], answers: Sequence[Answer], error: QueueError
    ) -> None:
        """Keep events that the queue has failed: whether it has them is not known."""
        waited_s = settings.INGEST_TIMEOUT_S + QUEUE_TIMEOUT_SLACK_S
        patience_s = max(PATIENCE_MIN_S, ANSWER_WITHIN_S - waited_s)
        for record, answer in zip(records, answers, strict=True):
            try:
                self.take(record, error, answer, patience_s)
            except QueueError as refusal:
                if not answer.done():
                    answer.set_exception(refusal)

    def _add(self, item: Item, record: Record, earlier: Known | None) -> None:
        if len(self._pending) >= PENDING_MAX:
            raise QueueDown("Too many events wait for the local spool.")
        self._disk.reserve(record.size, item.error)
        item.record, item.earlier = record, earlier
        if earlier is None and len(self._known) < KNOWN_MAX:
            item.known = self._known[record.dedup_key] = Known(record)
        self.waiting += 1
        if self.waiting == 1:
            self._on_wait()

    # --- Group commit --------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            await self._write_groups()
        finally:
            self._lose(self._in_write)
            self._in_write = []
            self._writer = None
            self.written.set()

    async def _write_groups(self) -> None:
        """While one group is being written, the next one gathers."""
        while self._pending:
            items = self._in_write = self._take_group()
            records = [item.record for item in items if item.record is not None]
            try:
                segment = await self._disk.run(self._commit, records) if records else None
            except OSError as error:
                self._disk.note_failure(error)
                self._lose(items)
            else:
                self._keep(items, segment, len(records))
            self._in_write = []
            self.written.set()
            await self._pace(len(records))

    def _take_group(self) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._pending and size < COMMIT_BYTES:
            item = self._pending.popleft()
            size += item.record.size if item.record is not None else 0
            items.append(item)
        return items

    def _commit(self, records: Sequence[Record]) -> Segment:
        # In a thread, one at a time. Raises OSError with nothing of it kept.
        segment = self._open
        if segment is None or not segment.is_open:
            self._number += 1
            segment = Segment.create(self._disk.get_folder(), self.name, self._number)
        try:
            segment.append(b"".join(encode(record, segment.key) for record in records))
        except OSError:
            if not segment.end:
                segment.remove()
            self._open = None
            raise
        self._open = segment
        return segment

    def _keep(self, items: Sequence[Item], segment: Segment | None, count: int) -> None:
        if segment is not None:
            self._disk.note_success()
            if not segment.end:
                self.segments.append(segment)
            segment.publish(count)
            if segment.end >= SEGMENT_BYTES:
                segment.is_open = False
        for item in items:
            if item.known is not None:
                item.known.is_stored = True
            if item.record is not None:
                metrics.TAKEN.inc()
            item.succeed()

    def _lose(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.record is not None:
                metrics.REFUSED.inc()
                self._disk.release(item.record.size)
                self._forget(item.record)
                self.waiting -= 1
            item.fail()

    def _expire(self) -> None:
        """Answer in time, whatever the disk does. What is being written may still be kept: then it
        is fed, and the sender's repeat is a duplicate.
        """
        if self._writer is None:
            return
        now = self._loop.time()
        for item in self._in_write:
            if item.deadline <= now:
                item.fail()
        late = [item for item in self._pending if item.deadline <= now]
        if late:
            self._pending = deque(item for item in self._pending if item.deadline > now)
            self._lose(late)
        self._loop.call_later(EXPIRE_INTERVAL_S, self._expire)

    # --- Feeding -------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        return self._writer is not None

    def knows(self, dedup_key: bytes) -> bool:
        """Whether an event with this key is known to wait."""
        return dedup_key in self._known

    def forget(self, segment: Segment, found: Sequence[Found]) -> None:
        """These are in the queue."""
        metrics.FED.inc(len(found))
        segment.fed = found[-1].end
        segment.unfed -= len(found)
        self.waiting -= len(found)
        for each in found:
            self._forget(each.record)

    def adopt(self, segment: Segment, records: Sequence[Record]) -> None:
        """Put another process's file before everything else: its events are older."""
        self.segments.appendleft(segment)
        self._disk.add(segment.end)
        for record in records:
            if len(self._known) < KNOWN_MAX:
                self._known.setdefault(record.dedup_key, Known(record, is_stored=True))
        was_waiting, self.waiting = self.waiting, self.waiting + len(records)
        if records and not was_waiting:
            self._on_wait()

    def drop(self, segment: Segment) -> None:
        """All that can be read of it is in the queue."""
        self.segments.remove(segment)
        self._disk.release(segment.end)
        self.waiting -= segment.unfed

    async def settle(self) -> None:
        """Until nothing is on its way to the disk any more."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    def _forget(self, record: Record) -> None:
        known = self._known.get(record.dedup_key)
        if known is not None and known.event_id == record.event_id:
            del self._known[record.dedup_key]
