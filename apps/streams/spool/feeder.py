"""Feeds what waits for a shard to the queue, oldest first, and lets new events pass again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from apps.streams.ending import end
from apps.streams.errors import QueueError
from apps.streams.spool import metrics
from apps.streams.spool.disk import Disk
from apps.streams.spool.lane import PENDING_MAX, Lane
from apps.streams.spool.records import Found, Record
from apps.streams.spool.segments import Segment

if TYPE_CHECKING:
    from apps.streams.appender import Answer

logger = logging.getLogger(__name__)

# One command after another, so that no event overtakes one that the server did not take: large
# enough to be quicker than what arrives meanwhile.
FEED_MAX = 256
FEED_BYTES = 1_048_576
RETRY_S = 0.25
# The last events are fed while new ones are held in memory for a moment, or the end would never
# come under load.
HOLD_BELOW = FEED_MAX
HOLD_S = 0.4
# While the queue takes them, more must go out than come in, whatever the disk could do: after each
# write, the next one waits for so many times as many events to be fed, but not longer.
PACE = 2
PACE_S = 0.8

Deliver = Callable[[Sequence[Record]], Awaitable[None]]
"""Appends to the queue; done when all are on its disk. Raises QueueError: outcome unknown."""


class Held(NamedTuple):
    """An event that waits in memory for the last of the spool to be fed."""

    record: Record
    error: QueueError
    answer: Answer


class Feeder:
    """A lane, the task that empties it, and the gate that closes the direct way meanwhile."""

    def __init__(
        self,
        name: str,
        disk: Disk,
        deliver: Deliver,
        pass_on: Callable[[Record, Answer], None],
        on_gate: Callable[[bool], None],
        is_up: Callable[[], bool],
    ) -> None:
        self.lane = Lane(name, disk, self._wake, self._pace)
        self._disk = disk
        self._deliver = deliver
        self._pass_on = pass_on  # gives an event to the queue the direct way
        self._on_gate = on_gate  # told True when new events must go behind those that wait
        self._is_up = is_up  # whether the queue seems to take events
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_blocked = False
        self._held: list[Held] | None = None
        self._segment: Segment | None = None  # the one that `_loaded` comes from
        self._loaded: deque[Found] = deque()
        self._fed = 0
        self._is_flowing = False  # there are events on disk, and the queue takes them
        self._progress = asyncio.Event()

    def take(self, record: Record, error: QueueError) -> Answer:
        """As `Lane.take`, for an event that can't go to the queue now."""
        held = self._held
        if held is None or self.lane.knows(record.dedup_key) or len(held) >= PENDING_MAX:
            return self.lane.take(record, error)
        answer: Answer = self._loop.create_future()
        held.append(Held(record, error, answer))
        return answer

    def block(self) -> None:
        """Close the gate until `unblock`: older events are about to be adopted."""
        self._is_blocked = True
        self._wake()

    def unblock(self) -> None:
        self._is_blocked = False

    async def stop(self) -> None:
        """Leave what waits on disk."""
        self._let_go()
        self._note(is_flowing=False)
        if self._task is not None:
            await end(self._task)
        await self.lane.settle()

    def _wake(self) -> None:
        if self._task is None:
            logger.warning("Events of shard %s wait in the local spool.", self.lane.name)
            self._on_gate(True)
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        lane = self.lane
        while lane.waiting or lane.segments or self._is_blocked:
            try:
                await self._feed_some()
            except QueueError:
                self._let_go()
                self._note(is_flowing=False)
                await asyncio.sleep(RETRY_S)
            except OSError as error:
                self._disk.note_failure(error)
                await asyncio.sleep(RETRY_S)
        # No other event comes between this look and the opening of the gate: nothing awaits.
        self._task = None
        logger.info("All events of shard %s that waited in the local spool are fed.", lane.name)
        self._on_gate(False)
        held, self._held = self._held or [], None
        for record, _, answer in held:
            self._pass_on(record, answer)

    async def _feed_some(self) -> None:
        if self._is_blocked:
            await asyncio.sleep(RETRY_S / 10)
            return
        if self._held is None and self.lane.waiting <= HOLD_BELOW and self._is_up():
            self._hold()
        segment = self.lane.segments[0] if self.lane.segments else None
        if segment is not None and (found := await self._read(segment)):
            await self._deliver([each.record for each in found])
            self.lane.forget(segment, found)
            for _ in found:
                self._loaded.popleft()
            self._fed += len(found)
            self._note(is_flowing=True)
        elif segment is not None and not (segment.is_open and self.lane.is_writing):
            await self._finish(segment)
        elif self.lane.is_writing:
            self._note(is_flowing=False)
            self.lane.written.clear()
            await self.lane.written.wait()
        else:
            await asyncio.sleep(RETRY_S / 10)  # the last that waited was refused for want of time

    async def _read(self, segment: Segment) -> list[Found]:
        """The next events of this file, none where all that can be read was fed."""
        if segment is not self._segment:
            self._segment = segment
            self._loaded.clear()
            segment.loaded = segment.fed
        if not self._loaded:
            segment.fed = segment.loaded
            if segment.fed < segment.end:
                self._loaded.extend(await self._load(segment))
        found: list[Found] = []
        size = 0
        for each in self._loaded:
            if len(found) == FEED_MAX or size > FEED_BYTES:
                break
            found.append(each)
            size += each.record.size
        return found

    async def _load(self, segment: Segment) -> list[Found]:
        try:
            return await self._disk.run(segment.load)
        except OSError as error:
            logger.error("The spool file %s can't be read: %s", segment.path.name, error.strerror)
            segment.damage += segment.end - segment.fed
            segment.fed = segment.loaded = segment.end
            return []

    async def _finish(self, segment: Segment) -> None:
        """Delete a file whose events the queue has; keep a damaged one for a person."""
        segment.is_open = False
        if segment.loaded < segment.end:
            return  # more came while it was looked at
        if segment.damage:
            await self._set_aside(segment)
        else:
            await self._disk.run(segment.remove)
        self.lane.drop(segment)

    async def _set_aside(self, segment: Segment) -> None:
        try:
            path = await self._disk.run(segment.set_aside, self._disk.root)
        except FileNotFoundError:
            path = None  # somebody has taken it away
        metrics.DAMAGED.inc()
        logger.error(
            "The spool file %s is damaged: %d bytes, about %d events, can't be read. The others "
            "were fed; the file is kept as %s.",
            *(segment.path.name, segment.damage, max(segment.unfed, 1), path),
        )

    # --- The end under load ----------------------------------------------------------------------

    async def _pace(self, written: int) -> None:
        goal, until = self._fed + PACE * written, self._loop.time() + PACE_S
        while self._is_flowing and self._fed < goal and self.lane.waiting > HOLD_BELOW:
            self._progress.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._progress.wait()
            except TimeoutError:
                return

    def _note(self, *, is_flowing: bool) -> None:
        self._is_flowing = is_flowing
        self._progress.set()

    def _hold(self) -> None:
        """From now on new events wait in memory, for a moment, so that the spool runs empty."""
        held: list[Held] = []
        self._held = held
        self._loop.call_later(HOLD_S, lambda: self._let_go() if self._held is held else None)

    def _let_go(self) -> None:
        """Put what is held behind everything else in the spool."""
        held, self._held = self._held or [], None
        for record, error, answer in held:
            self.lane.rescue([record], [answer], error)
