"""How a person keeps a sample: pasted, or copied from an event. Noted in the audit."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from apps.audit.models import AuditEntry
from apps.pipelines.models import Pipeline, Sample
from apps.pipelines.samples import pin_event


def paste(request: HttpRequest, pipeline: Pipeline, body: str, **fields: Any) -> Sample:
    """Raises SampleRefused."""
    with transaction.atomic():
        origin = Sample.Origin.OWN
        sample = Sample.keep(pipeline, request.user, to_bytes(body), origin=origin, **fields)
        AuditEntry.record(request.user, "sample.add", pipeline, sample=sample.public_id)
    return sample


def pin(request: HttpRequest, pipeline: Pipeline, event: str) -> Sample:
    """A copy of the event that has this id. Raises SampleRefused."""
    with transaction.atomic():
        sample = pin_event(pipeline, request.user, event)
        details = {"sample": sample.public_id, "event": event}
        AuditEntry.record(request.user, "sample.add", pipeline, **details)
    return sample


def to_bytes(text: str) -> bytes:
    # A browser sends CRLF, and half a character is no UTF-8.
    return text.replace("\r\n", "\n").encode("utf-8", "replace")


def check_reader(request: HttpRequest) -> None:
    """A sample may be the copy of an event's body."""
    if not request.user.has_perm("events.view_eventbody"):
        raise PermissionDenied
