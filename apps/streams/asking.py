"""Asking every shard the same question, for pages and probes that must answer within 2 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from apps.streams.addresses import Address
from apps.streams.errors import QueueDown, QueueError

T = TypeVar("T")
# How long a server may take for each command of an answer: use it for the client that asks.
ASK_TIMEOUT_S = 1.0
# Finding the address of a host has no time limit of its own.
ASK_ALL_TIMEOUT_S = 1.2
# One that let somebody wait is not asked again for so long: a page asks several times.
SILENT_S = 1.0
WAITED_S = 0.5

_silent: dict[str, tuple[float, QueueError]] = {}  # address → until when, and what is said of it


def ask_all(addresses: Sequence[Address], ask: Callable[[Address], T]) -> list[T | QueueError]:
    """What `ask` answers or raises for each server, all asked at once: a frozen one delays the
    whole by ASK_ALL_TIMEOUT_S at most. `ask` may raise QueueError, and no other.
    """

    def answer(address: Address) -> T | QueueError:
        began_s = time.monotonic()
        try:
            return ask(address)
        except QueueError as error:
            if time.monotonic() - began_s > WAITED_S:
                _note_silence(address, error)
            return error

    pool = ThreadPoolExecutor(max(1, len(addresses)), thread_name_prefix="ask-queue")
    asked = {
        address: pool.submit(answer, address)
        for address in addresses
        if _find_silence(address) is None
    }
    wait(asked.values(), ASK_ALL_TIMEOUT_S)
    pool.shutdown(wait=False, cancel_futures=True)
    late = QueueDown(f"The queue server does not answer within {ASK_ALL_TIMEOUT_S} s.")
    for address in asked:
        if not asked[address].done():
            _note_silence(address, late)
    done = {address: future.result() for address, future in asked.items() if future.done()}
    return [done[each] if each in done else _find_silence(each) or late for each in addresses]


def _note_silence(address: Address, error: QueueError) -> None:
    _silent[address.url] = (time.monotonic() + SILENT_S, error)


def _find_silence(address: Address) -> QueueError | None:
    until_s, error = _silent.get(address.url, (0.0, None))
    return error if time.monotonic() < until_s else None
