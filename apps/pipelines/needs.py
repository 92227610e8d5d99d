"""What a version needs of a worker: recorded when it is published, read by the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.pipelines.models import PipelineVersion

LEAST = 1


def asks_others(version: PipelineVersion) -> bool:
    """Whether another provider than that of the settings may be asked."""
    return bool(version.provider or version.fallbacks)


def asks_people(version: PipelineVersion) -> bool:
    """Whether an answer may wait for a person's yes before it is delivered."""
    return bool(version.approval)


# Level, and whether a version needs it. The highest is workers.contracts.UNDERSTANDS.
NEEDS: tuple[tuple[int, Callable[[PipelineVersion], bool]], ...] = (
    (2, asks_others),
    (3, asks_people),
)


def get_needed(version: PipelineVersion) -> int:
    """The level that a worker must have to run it as it is meant."""
    return max((level for level, is_needed in NEEDS if is_needed(version)), default=LEAST)
