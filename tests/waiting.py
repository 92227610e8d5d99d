"""Wait for a condition with a deadline: never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02


def wait_until(
    predicate: Callable[[], T], timeout_s: float = 10.0, what: str = "the condition"
) -> T:
    """The first truthy answer of the predicate; AssertionError names `what` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        if answer := predicate():
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s")
        time.sleep(POLL_S)
