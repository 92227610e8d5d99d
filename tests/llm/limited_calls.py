"""A worker process that makes calls within the limits, each in its turn: for tests of many.

`python -m tests.llm.limited_calls 80` with QUEUE_URL, OPENAI_BASE_URL and the limits set.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import django
from django.conf import settings

THREADS = 40


def make_call(number: int) -> None:
    from apps.events.models import Event
    from apps.llm import limits
    from apps.llm.endpoints import get_endpoint
    from apps.llm.lanes import Lane, ModelLimits
    from apps.llm.provider import complete
    from apps.pipelines.prepare import PreparedRequest

    body = {"model": "m", "messages": [{"role": "user", "content": f"[[c{number}]]"}]}
    event = Event()
    granted = ModelLimits(
        *(settings.LLM_REQUESTS_PER_MINUTE, settings.LLM_TOKENS_PER_MINUTE),
        settings.LLM_CONCURRENCY,
    )
    lane = Lane("provider", "m", granted)  # there is no database here to look for more
    while True:
        try:
            place = limits.take(lane, event, PreparedRequest(body, "", {}))
        except limits.LimitReached as error:
            time.sleep(error.retry_after_s or 0)  # as the workflow does
            continue
        place.settle(complete(get_endpoint(), body), Decimal(0))
        return


def main() -> None:
    django.setup()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(make_call, range(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
