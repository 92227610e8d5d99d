"""The periodic task of batches in a process that is killed at a named point.

    python -m tests.workers.dying_batch_task <point>

The product has no hooks for this: Django's wrapper around each statement, and the interpreter's
audit event of a connection, say where the process is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import django

# The n-th statement that begins so and has this value: before it, or after it.
UPDATE_BATCH, UPDATE_CALL = 'UPDATE "llm_llmbatch"', 'UPDATE "llm_llmcall"'
BEFORE = {
    "before_gathering": ('INSERT INTO "llm_llmbatch"', "gathered", 1),
    "uploaded": (UPDATE_BATCH, "uploaded", 1),
    "created": (UPDATE_BATCH, "running", 1),
    "reading": (UPDATE_CALL, "answered", 8),
    "read": (UPDATE_BATCH, "finished", 1),
}
AFTER = {"before_creating": (UPDATE_BATCH, "creating", 1)}
BEFORE_UPLOAD = "before_upload"
TIMEOUT_S = 30


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watch_statements(point: str) -> None:
    from django.db.backends.signals import connection_created

    beginning, value, left = (BEFORE | AFTER)[point]

    def wrapper(execute: Callable[..., Any], sql: str, values: Any, *rest: Any) -> Any:
        nonlocal left
        is_here = sql.startswith(beginning) and value in (values or ())
        left -= is_here
        if is_here and not left and point in BEFORE:
            die()
        result = execute(sql, values, *rest)
        if is_here and not left:
            die()
        return result

    def wrap(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(wrapper)

    connection_created.connect(wrap, weak=False)


def watch_connections() -> None:
    from urllib.parse import urlsplit

    from django.conf import settings

    port = urlsplit(settings.OPENAI_BASE_URL).port

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1][1:2] == (port,):
            die()

    sys.addaudithook(hook)


def main(point: str) -> None:
    django.setup()
    from apps.llm.batches import run_due

    if point == BEFORE_UPLOAD:
        watch_connections()
    else:
        watch_statements(point)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        run_due()
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
