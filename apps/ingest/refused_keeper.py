"""Between ingest and the database: what is refused waits here for the writer, bounded.

Refusing must cost the loop next to nothing, and a flood of bad requests must fill neither memory
nor database: what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque

from django.conf import settings
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
)
from prometheus_client import Counter as Metric

from apps.ingest import metrics, refused_writing
from apps.ingest.peer import Proxies
from apps.ingest.refusals import Refusal
from apps.ingest.refused_writing import Refused
from apps.ingest.registry import SourceRow
from apps.sources.schemes import Request, SignatureRefused
from apps.vault.vault import VaultError

logger = logging.getLogger(__name__)

WAITING_MAX = 1000
WAITING_OF_A_SOURCE_MAX = 250  # one source's flood must not push out another's only request
WAITING_MAX_BYTES = 16_777_216
OVERHEAD_BYTES = 2048  # headers and objects of a request, roughly
# 100 requests a second, in bites: whoever computes in another thread makes the loop wait 5 ms for
# the interpreter at each of its system calls. Measured on a busy machine under a flood, p99 of
# good events: 160 to 470 ms with batches of 100 and one row at a time, now 20 to 60.
BATCH = 20
PAUSE_S = 0.2
RETRY_S = 1.0
STOP_TIMEOUT_S = 4.0


def is_worth_keeping(error: Refusal | SignatureRefused) -> bool:
    """Whether a repair on our side can make the same request good."""
    if isinstance(error, SignatureRefused):
        return error.permanent
    return error.is_kept


class RefusedKeeper:
    """Takes refused requests in the loop, and writes them in one thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Refused] = deque()
        self._of_source: Counter[int] = Counter()
        self._bytes = 0
        self._proxies = Proxies(settings.FORWARDED_ALLOW_IPS)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, source: SourceRow, request: Request, error: Refusal | SignatureRefused) -> None:
        """Let it be written soon, if it is worth keeping and there is room. Never waits."""
        if not is_worth_keeping(error) or not settings.REFUSED_KEEP_COUNT:
            return
        with self._lock:
            if not self._has_room(source.pk, request):
                metrics.REFUSED_DROPPED.labels(source.slug).inc()
                return
            sender = self._proxies.find_sender(request.client, request.headers.items())
            self._waiting.append(Refused(source, request, error, str(sender or "")))
            self._of_source[source.pk] += 1
            self._bytes += _size(request)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="refused", daemon=True)
                self._thread.start()
        self._wake.set()

    def _has_room(self, source_id: int, request: Request) -> bool:
        return (
            len(self._waiting) < WAITING_MAX
            and self._of_source[source_id] < WAITING_OF_A_SOURCE_MAX
            and self._bytes + _size(request) <= WAITING_MAX_BYTES
            and not self._stopping.is_set()
        )

    async def stop(self) -> None:
        """Write what waits; what is not written after STOP_TIMEOUT_S is dropped and counted."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)
        for refused in self._take(WAITING_MAX):
            metrics.REFUSED_DROPPED.labels(refused.source.slug).inc()

    def _take(self, count: int) -> list[Refused]:
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            for refused in taken:
                self._of_source[refused.source.pk] -= 1
                self._bytes -= _size(refused.request)
        return taken

    def _run(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                while batch := self._take(BATCH):
                    self._write(batch)
                    self._stopping.wait(PAUSE_S)
                if self._stopping.is_set():
                    return
        finally:
            connections.close_all()

    def _write(self, batch: list[Refused]) -> None:
        """Until the database has it: what comes meanwhile waits, and is dropped at the bound."""
        while True:
            try:
                close_old_connections()
                if self._stopping.is_set():
                    refused_writing.write(batch, explained_max=0)  # there is no time
                else:
                    refused_writing.write(batch)
            except (OperationalError, InterfaceError) as error:
                self._tell(batch, error)
                if not self._stopping.wait(RETRY_S):
                    continue
            except (DatabaseError, VaultError) as error:
                self._tell(batch, error)
            else:
                _count(metrics.REFUSED_KEPT, batch)
                return
            _count(metrics.REFUSED_DROPPED, batch)
            return

    def _tell(self, batch: list[Refused], error: Exception) -> None:
        name = error.__class__.__name__
        logger.warning("%s refused requests can't be kept now (%s).", len(batch), name)


def _size(request: Request) -> int:
    return len(request.body) + OVERHEAD_BYTES


def _count(metric: Metric, batch: list[Refused]) -> None:
    for slug, count in Counter(refused.source.slug for refused in batch).items():
        metric.labels(slug).inc(count)
