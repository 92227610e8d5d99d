"""What our guarantees cost each call to the model: the ledger's step beside the bare client.

Both ask the same fake server in turns, one call after another. Ours reads the ledger, asks for
admission, commits the intent, sends, reads and checks the answer and commits that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

WARM = 20


class Clock:
    """Seconds spent in statements of the database; a commit is none."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0

    def __call__(self, execute: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            self.seconds += time.perf_counter() - started
            self.count += 1


def measure_call(source_id: int, calls: int) -> None:
    """Print p50 and p99 of both, in milliseconds."""
    import openai
    from django.conf import settings
    from django.db import connection

    client = openai.OpenAI(
        base_url=settings.OPENAI_BASE_URL, api_key=settings.OPENAI_API_KEY, max_retries=0
    )
    bare, ours, clock = [], [], Clock()
    for number in range(WARM + calls):
        event, request = make_request(source_id, number)
        started = time.perf_counter()
        client.chat.completions.create(**request.body)
        bare.append(time.perf_counter() - started)
        with connection.execute_wrapper(clock if number >= WARM else Clock()):
            ours.append(time_ours(event, request))
    report_call(bare[WARM:], ours[WARM:], clock)


def make_request(source_id: int, number: int) -> tuple[Any, Any]:
    """An event that no dispatcher counts as open, and its request."""
    from django.utils import timezone

    from apps.events.models import Event, Status
    from apps.pipelines.prepare import prepare
    from apps.sources.models import Source

    source = Source.objects.select_related("pipeline__current_version").get(pk=source_id)
    version = source.pipeline.current_version
    assert version is not None
    raw = b'{"text": "My invoice shows the wrong amount, please correct it.", "n": %d}' % number
    event = Event.from_body(
        raw,
        source=source,
        pipeline_version=version,
        idempotency_key=f"call-{time.time_ns()}",
        received_at=timezone.now(),
        finished_at=timezone.now(),
        status=Status.DELIVERED,
    )
    event.save()
    return event, prepare(version, raw, "application/json")


def time_ours(event: Any, request: Any) -> float:
    from apps.llm.step import call_once

    started = time.perf_counter()
    call_once(event, event.pipeline_version, request)
    return time.perf_counter() - started


def report_call(bare: list[float], ours: list[float], clock: Clock) -> None:
    for share in (50, 99):
        a, b = get_percentile_ms(bare, share), get_percentile_ms(ours, share)
        print(f"call p{share}: bare openai {a:.1f} ms, ours {b:.1f} ms, overhead {b - a:.1f} ms")
    each = clock.count / len(ours)
    milliseconds = clock.seconds / len(ours) * 1000
    print(f"of it {milliseconds:.1f} ms in {each:.0f} statements a call, without their commits")


def get_percentile_ms(seconds: Sequence[float], share: int) -> float:
    """The value that `share` percent do not exceed."""
    return sorted(seconds)[math.ceil(len(seconds) * share / 100) - 1] * 1000
