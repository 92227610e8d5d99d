"""The certificates with which Amazon SNS and PayPal sign, fetched in the background and kept.

A verifier names an address only after it was found to be the provider's own. What lies there never
changes (a new certificate has a new address), so a certificate is kept as long as the process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from cryptography import x509

from apps.destinations.egress import EgressError, get

logger = logging.getLogger(__name__)

MAX_KEPT = 32
# Strangers can ask for any name at a provider's host: we must not knock there for each of them.
MAX_FETCHES = 4
MAX_FETCHES_A_MINUTE = 30
FETCH_TIMEOUT_S = 5.0
# How long a request waits for its certificate; after that its sender is asked to try again.
WAIT_S = 0.8
FAILURE_PAUSE_S = 5.0


class Certificates:
    """PEM certificates by address. `get` is for verifiers and never waits; all is thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}
        self._fetches: dict[str, Future[None]] = {}
        self._again_at: dict[str, float] = {}  # after a failure; monotonic seconds
        self._started: deque[float] = deque(maxlen=MAX_FETCHES_A_MINUTE)
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(MAX_FETCHES, thread_name_prefix="certificates")

    def get(self, url: str) -> bytes | None:
        """The certificate, None while it is not known."""
        return self._known.get(url)

    async def fetch(self, url: str) -> bool:
        """Whether it is known after at most WAIT_S; all who ask at once share one request."""
        fetch = self._start(url)
        if fetch is not None:
            await asyncio.wait([asyncio.wrap_future(fetch)], timeout=WAIT_S)
        return url in self._known

    def _start(self, url: str) -> Future[None] | None:
        now = time.monotonic()
        with self._lock:
            if url in self._fetches:
                return self._fetches[url]
            self._again_at = {url: at for url, at in self._again_at.items() if at > now}
            if url in self._again_at or self._is_busy(now):
                return None
            self._started.append(now)
            fetch = self._fetches[url] = self._threads.submit(self._fetch, url)
            return fetch

    def _is_busy(self, now: float) -> bool:
        is_full = len(self._started) == MAX_FETCHES_A_MINUTE and self._started[0] > now - 60
        return is_full or len(self._fetches) >= MAX_FETCHES

    def _fetch(self, url: str) -> None:
        try:
            pem = get(url, FETCH_TIMEOUT_S)
            x509.load_pem_x509_certificate(pem)
        except (EgressError, ValueError) as error:
            why = str(error) if isinstance(error, EgressError) else "It is no certificate."
            logger.warning("A provider's certificate can't be fetched: %s", why)
            self._settle(url, None)
        else:
            self._settle(url, pem)

    def _settle(self, url: str, pem: bytes | None) -> None:
        with self._lock:
            del self._fetches[url]
            if pem is None:
                self._again_at[url] = time.monotonic() + FAILURE_PAUSE_S
                return
            if len(self._known) >= MAX_KEPT:
                del self._known[next(iter(self._known))]
            self._known[url] = pem


certificates = Certificates()
"""Those of this process: sources are built anew with every change, certificates stay."""
