"""The apps' only door to Temporal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.events.models import Event


def start_soon(event: Event) -> None:
    """Start the workflow of the event's current run; where Temporal is down, the reconciler will."""
    raise NotImplementedError
