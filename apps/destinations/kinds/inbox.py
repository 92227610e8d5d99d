"""The built-in inbox: a row that the page shows."""

from __future__ import annotations

from django.db.models import JSONField, Value

from apps.destinations.kinds.base import Delivered
from apps.destinations.models import Destination, InboxItem
from apps.events.models import Event


def deliver(event: Event, destination: Destination, answer: object) -> Delivered:
    """One item an event, however often it is delivered; the database decides."""
    # A Value, because the answer may be JSON's null, which is not a missing answer.
    defaults = {"answer": Value(answer, JSONField())}
    InboxItem.objects.get_or_create(destination=destination, event_id=event.pk, defaults=defaults)
    return Delivered()
