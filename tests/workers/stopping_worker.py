"""Real worker processes that stop (SIGSTOP) at a named point around the call.

    python -m tests.workers.stopping_worker kill <point> <count>   many, each killed where it stops
    python -m tests.workers.stopping_worker pause <point>          one, which SIGCONT wakes up

The product has no hooks for this. What stops a worker is outside its code: the interpreter's audit
event of the connection to the provider, and Django's wrapper around each statement. The workers are
forks of one process that has loaded everything, so that twenty of them start in a moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import django

from pipeline_admin.bootstrap.processes import tie_to_this_process

# Before the first statement that begins so and has this value.
STATEMENTS = {
    "before_intent": ('INSERT INTO "llm_llmcall"', "intent"),
    "answer_committed": ('UPDATE "events_event"', "running"),
    "id_committed": ('UPDATE "events_event"', "running"),
}
# At the connection to the provider; before the first statement of any kind after it.
AFTER_INTENT, ANSWER_READ = "after_intent", "answer_read"
# The answer was read by the id; and that is on record.
FOUND, FOUND_COMMITTED = "found", "found_committed"
REQUEST_SENT = "request_sent"  # known to the provider only
TIMEOUT_S = 120


def stop_once() -> Callable[[], None]:
    """Stops the process where it is called first, if that is in the thread of a call."""
    lock = threading.Lock()

    def stop() -> None:
        # Once: whoever wakes up goes on to the end.
        if threading.current_thread().name.startswith("ask") and lock.acquire(blocking=False):
            # Stops the process, and this thread at this very place; os.kill may let it run on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    return stop


def arm(point: str) -> None:
    """Let this process stop there."""
    stop = stop_once()
    if point == AFTER_INTENT:
        watch_connections(stop)
    elif point == ANSWER_READ:
        # No transaction is open there: a worker that is only paused must not keep SQLite locked.
        connected = threading.Event()
        watch_connections(connected.set)
        watch_statements(lambda sql, values: stop() if connected.is_set() else None)
    elif point == FOUND:
        watch_findings(stop)
    elif point == FOUND_COMMITTED:
        # Not where the event is shown as waiting, but with the step that comes after the answer.
        watch_statements(
            lambda sql, values: (
                stop() if sql.startswith('UPDATE "events_event"') and "deliver" in values else None
            )
        )
    elif point in STATEMENTS:
        beginning, value = STATEMENTS[point]
        watch_statements(
            lambda sql, values: stop() if sql.startswith(beginning) and value in values else None
        )


def watch_connections(tell: Callable[[], None]) -> None:
    """Tell of each connection to the provider, before it is made."""
    from django.conf import settings

    port = urlsplit(settings.OPENAI_BASE_URL).port

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1][1:2] == (port,):
            tell()

    sys.addaudithook(hook)


def watch_findings(tell: Callable[[], None]) -> None:
    """Tell of each answer that was read by an id, before the transaction that records it begins."""
    ledger_read = False

    def watch(sql: str, values: Sequence[Any]) -> None:
        nonlocal ledger_read
        if not threading.current_thread().name.startswith("ask"):
            return
        if sql.startswith("SELECT"):
            # Who begins a call asks for budgets between the ledger's rows and the intent.
            ledger_read = "llm_budget" not in sql and (ledger_read or '"llm_llmcall"' in sql)
        elif ledger_read:
            tell()

    watch_statements(watch)


def watch_statements(tell: Callable[[str, Sequence[Any]], None]) -> None:
    """Tell of each statement, before it is executed."""
    from django.db.backends.signals import connection_created

    def wrapper(execute: Callable[..., Any], sql: str, values: Any, *rest: Any) -> Any:
        tell(sql, values or ())
        return execute(sql, values, *rest)

    def wrap(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(wrapper)

    connection_created.connect(wrap, weak=False)


def work(point: str) -> None:
    """Be a worker, as in production but for this."""
    from workers.temporal_worker import run_worker

    arm(point)
    asyncio.run(run_worker())


def fork_worker(point: str) -> int:
    """The process id."""
    tie = tie_to_this_process()
    if pid := os.fork():
        return pid
    code = 1
    try:
        tie()
        work(point)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the fork
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_where_they_stop(pids: set[int]) -> None:
    """Each as soon as it has stopped: what it had locked is free for the next."""
    while pids:
        pid, status = os.waitpid(-1, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            sys.exit(f"a worker ended by itself: {status}")
        kill(pid)
        pids.remove(pid)


def kill_during_call(pids: set[int]) -> None:
    """When the provider has read the request of each, and answers none."""
    deadline = time.monotonic() + TIMEOUT_S
    while count_calls() < len(pids):
        if time.monotonic() > deadline:
            sys.exit(f"only {count_calls()} calls came")
        time.sleep(0.05)
    for pid in pids:
        kill(pid)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def count_calls() -> int:
    url = os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + "/__calls"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(json.load(answer)["total"])


def main(mode: str, point: str, count: str = "1") -> None:
    django.setup()
    import workers.temporal_worker  # noqa: F401 - once, not in each fork

    if mode == "pause":
        work(point)
        return
    pids = {fork_worker(point) for _ in range(int(count))}
    if point == REQUEST_SENT:
        kill_during_call(pids)
    else:
        kill_where_they_stop(pids)


if __name__ == "__main__":
    main(*sys.argv[1:])
