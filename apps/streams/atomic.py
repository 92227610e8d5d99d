"""Small scripts that run as one step on the first shard's server: state that all processes share.

    LOOK = Script("return redis.call('GET', KEYS[1])")
    value = LOOK.run(["pipeline:…"], [])

Where that server has not answered, it is left alone for a moment: whoever asks has an answer of
its own for that, and must not wait for each question.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from apps.streams.clients import get_client
from apps.streams.errors import QueueDown, QueueError, translated

TIMEOUT_S = 0.5
TRY_AGAIN_S = 1.0

_try_again_at: dict[str, float] = {}  # address → monotonic time


class Script:
    """A Lua script. Its clock is the server's: `redis.call('TIME')`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, keys: Sequence[str], arguments: Sequence[str | int | float]) -> Any:
        """What the script returns: bytes, int, or a list of these. Raises QueueError."""
        url = settings.QUEUE_URLS[0]
        if time.monotonic() < _try_again_at.get(url, 0.0):
            raise QueueDown("The queue server did not answer a moment ago.")
        try:
            with translated():
                # redis-py sends the script's hash, and the text where the server lacks it.
                return get_client(url, TIMEOUT_S).register_script(self._text)(keys, arguments)
        except QueueError:
            _try_again_at[url] = time.monotonic() + TRY_AGAIN_S
            raise
