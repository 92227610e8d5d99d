"""The local spool of a web process: takes in what the queue can't, and feeds it when it can.

Each process has a folder of its own in SPOOL_DIR, with files for each shard. What a process that
has died left there is adopted by the first living one that gets its lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from apps.streams.ending import end
from apps.streams.spool import metrics
from apps.streams.spool.disk import Disk
from apps.streams.spool.feeder import Deliver, Feeder
from apps.streams.spool.folders import Folder, adopt_all
from apps.streams.spool.records import Record
from apps.streams.spool.segments import Segment, get_lane
from apps.streams.spool.status import write_status

if TYPE_CHECKING:
    from apps.streams.appender import Answer

logger = logging.getLogger(__name__)

TICK_S = 1.0
ADOPT_EVERY_TICKS = 5


class Spool:
    """All lanes of this process. `start` it in the loop that takes events."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver  # to whatever shard the placement names now
        self._disk = Disk(Path(settings.SPOOL_DIR), settings.SPOOL_MAX_BYTES)
        self._feeders: dict[str, Feeder] = {}
        self._adopted: list[Folder] = []
        self._shown: tuple[int, str] | None = None
        self._task: asyncio.Task[None] | None = None

    def add_shard(
        self,
        name: str,
        pass_on: Callable[[Record, Answer], None],
        on_gate: Callable[[bool], None],
        is_up: Callable[[], bool],
    ) -> Feeder:
        """The lane of a shard; the three are Feeder's."""
        feeder = Feeder(name, self._disk, self._deliver, pass_on, on_gate, is_up)
        self._feeders[name] = feeder
        return feeder

    def start(self) -> None:
        """Open the folder, and keep back new events of shards for which older ones wait there."""
        self._disk.open()
        adopted = adopt_all(self._disk.root)
        self._block(adopted)
        self._task = asyncio.get_running_loop().create_task(self._tend(adopted))

    async def stop(self) -> None:
        """After the queue's connections: write what they could not keep, leave the rest on disk."""
        if self._task is not None:
            await end(self._task)
        for feeder in self._feeders.values():
            await feeder.stop()
        await self._show()
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._disk.close()
        for feeder in self._feeders.values():
            for segment in feeder.lane.segments:
                segment.close()
        self._disk.give_up()
        for folder in self._adopted:
            folder.release()

    async def _tend(self, adopted: list[Folder]) -> None:
        ticks = 0
        while True:
            await self._take_over(adopted)
            await self._give_back()
            await self._show()
            await asyncio.sleep(TICK_S)
            ticks += 1
            adopted = []
            if ticks % ADOPT_EVERY_TICKS == 0:
                adopted = await self._disk.run(adopt_all, self._disk.root)
                self._block(adopted)

    async def _show(self) -> None:
        """Tell /readyz, pages and metrics, which read the folders of all processes."""
        events = sum(feeder.lane.waiting for feeder in self._feeders.values())
        shown = events, self._disk.get_why()
        if shown != self._shown:
            try:
                await self._disk.run(self._write_status, *shown)
            except OSError as error:
                self._disk.note_failure(error)
            else:
                self._shown = shown
                self._disk.note_success()

    def _write_status(self, events: int, why: str) -> None:
        write_status(self._disk.get_folder(), events, why)

    # --- What dead processes have left -----------------------------------------------------------

    def _block(self, adopted: Sequence[Folder]) -> None:
        for name in {get_lane(path) for folder in adopted for path in folder.get_files()}:
            self._get_feeder(name).block()

    async def _take_over(self, adopted: Sequence[Folder]) -> None:
        """Put their files in front, oldest first; then the shards' gates may open again."""
        self._adopted += adopted
        try:
            for folder in reversed(adopted):
                for path in reversed(folder.get_files()):
                    await self._take_over_file(path)
        finally:
            for feeder in self._feeders.values():
                feeder.unblock()

    async def _take_over_file(self, path: Path) -> None:
        feeder = self._get_feeder(get_lane(path))
        try:
            segment = await self._disk.run(Segment.adopt, path)
            found, torn = await self._disk.run(segment.look_through)
        except (OSError, ValueError) as error:
            reason = error.__class__.__name__
            logger.error("The spool file %s can't be read (%s) and stays.", path, reason)
            metrics.DAMAGED.inc()
            return
        if torn:
            metrics.TORN.inc(torn)
            logger.warning(
                "The end of the spool file %s was cut off: %d bytes of a write that never ended.",
                *(path.name, torn),
            )
        logger.info("Adopted %d events of another process: %s", len(found), path)
        feeder.lane.adopt(segment, [each.record for each in found])

    async def _give_back(self) -> None:
        """Remove the folders whose files are all fed."""
        for folder in list(self._adopted):
            if not folder.get_files():
                self._adopted.remove(folder)
                await self._disk.run(folder.release)

    def _get_feeder(self, name: str) -> Feeder:
        """Its events go where the placement says now, even if this shard is gone."""
        feeder = self._feeders.get(name)
        if feeder is None:
            feeder = self.add_shard(name, _never, lambda _: None, lambda: False)
        return feeder


def _never(record: Record, answer: Answer) -> None:
    raise AssertionError("no new event is placed on a shard that is gone")
