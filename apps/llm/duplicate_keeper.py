"""Writes down how many repeats each source has sent: what they would have cost was not spent.

A web process counts them in memory, for its metrics; every few seconds this adds what has come
since to the database. Nothing of it stands in the way of a request.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError, close_old_connections, connections, transaction
from django.db.models import F
from django.utils import timezone

from apps.ingest.metrics import DUPLICATES
from apps.llm.costs import to_hour
from apps.llm.models import DuplicateHour
from apps.sources.models import Source
from apps.streams.ending import end

INTERVAL_S = 10.0
logger = logging.getLogger(__name__)


class DuplicateKeeper:
    """One for each web process."""

    def __init__(self) -> None:
        self.written: dict[str, int] = {}  # by slug, since the process began

    async def start(self) -> None:
        """From here on, what comes is written; what this process has counted before is not."""
        self.written = read_counts()
        # One thread, so that one database connection is kept.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="duplicates")
        self._task = asyncio.get_running_loop().create_task(self._keep_on())

    async def stop(self) -> None:
        """Write what is left."""
        await end(self._task)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self.write)
        await loop.run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown()

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await asyncio.get_running_loop().run_in_executor(self._thread, self.write)

    def write(self) -> None:
        """What has come since; a database that is away gets it later."""
        counts = read_counts()
        new = {slug: count - self.written.get(slug, 0) for slug, count in counts.items()}
        new = {slug: count for slug, count in new.items() if count > 0}
        if not new:
            return
        close_old_connections()
        try:
            add(new)
        except DatabaseError as error:
            logger.warning("Duplicates are counted later: %s.", error.__class__.__name__)
        else:
            self.written = counts


def read_counts() -> dict[str, int]:
    """Of this process, by the source's slug."""
    return {
        sample.labels["source"]: int(sample.value)
        for metric in DUPLICATES.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def add(duplicates: dict[str, int]) -> None:
    """To the present hour; other processes add to the same rows. Raises DatabaseError."""
    hour = to_hour(timezone.now())
    sources = dict(Source.objects.filter(slug__in=duplicates).values_list("slug", "pk"))
    rows = [DuplicateHour(hour=hour, source_id=pk) for _, pk in sorted(sources.items())]
    with transaction.atomic():
        DuplicateHour.objects.bulk_create(rows, ignore_conflicts=True)
        for slug, pk in sorted(sources.items()):
            hours = DuplicateHour.objects.filter(hour=hour, source=pk)
            hours.update(duplicates=F("duplicates") + duplicates[slug])
