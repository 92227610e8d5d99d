"""How a log line looks: an exception shows where it happened and of what kind it is, no more."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class QuietFormatter(logging.Formatter):
    """Leaves out the message of an exception: a driver or parser may quote a payload in it."""

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the name is logging's
        return "\n".join(self._describe(ei[1], set())) if ei[1] is not None else ""

    def _describe(self, error: BaseException, seen: set[int]) -> list[str]:
        seen.add(id(error))
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        lines = self._describe(cause, seen) if cause and id(cause) not in seen else []
        frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        return [*lines, frames, f"{kind} (its message is left out: it may quote an event)"]
