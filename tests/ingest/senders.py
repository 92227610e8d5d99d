"""Senders that go on as a good provider does: they repeat an event until it is acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from typing import Self
from urllib.parse import urlsplit
from uuid import UUID

from tests.ingest.conftest import sign

PAUSE_S = 0.02
ANSWER_WITHIN_S = 2.0


class Senders:
    """Threads that send events to the demo source until the block ends. Seeded, so that a run's
    events are the next run's; every tenth request repeats an event that was acknowledged.
    """

    def __init__(self, base_url: str, count: int = 6, seed: int = 1) -> None:
        self.address = urlsplit(base_url).netloc
        self.acknowledged: list[tuple[str, str]] = []  # idempotency key, id of the event in hex
        self.refusals: dict[int, int] = {}
        self.slowest_s = 0.0
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(f"{seed}-{number}",))
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def _run(self, name: str) -> None:
        try:
            self._send_all(name)
        except Exception as error:  # noqa: BLE001 - raised again where the senders are stopped
            self._failures.append(error)

    def _send_all(self, name: str) -> None:
        chance = random.Random(name)
        connection = http.client.HTTPConnection(self.address, timeout=5)
        own: list[str] = []
        number = 0
        while not self._stop.is_set():
            is_repeated = bool(own) and chance.random() < 0.1
            key = chance.choice(own) if is_repeated else f"{name}-{number}"
            event_id = self._send(connection, key)
            if event_id is None:
                time.sleep(PAUSE_S)  # the same event again
                continue
            self.acknowledged.append((key, event_id))
            if not is_repeated:
                own.append(key)
                number += 1
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, key: str) -> str | None:
        """The id of the event, None where it was not acknowledged."""
        body = b'{"text": "%b"}' % key.encode()
        began_s = time.monotonic()
        try:
            connection.request("POST", "/hooks/helpdesk", body, sign(body, key))
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        if response.status not in (200, 202):
            self.refusals[response.status] = self.refusals.get(response.status, 0) + 1
            return None
        return UUID(json.loads(answer)["id"].removeprefix("evt_")).hex
