"""Deliver an answer to a destination."""

from __future__ import annotations

from apps.destinations.kinds import KINDS
from apps.destinations.kinds.base import Delivered, DeliveryError
from apps.destinations.models import Destination
from apps.events.models import Event

__all__ = ["Delivered", "DeliveryError", "deliver"]


def deliver(event: Event, destination: Destination, answer: object) -> Delivered:
    """Hand over the answer. Safe to repeat: receivers see one id per event, the inbox one item.

    Raises `DeliveryError`.
    """
    return KINDS[destination.kind](event, destination, answer)
