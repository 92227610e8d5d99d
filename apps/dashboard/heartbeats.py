"""Signs of life of dispatcher, worker and Celery: written by them, read by the status sample."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from django.db.models import Max
from django.utils import timezone

from apps.dashboard.models import PartHeartbeat

INTERVAL_S = 5.0
ALIVE_FOR_S = 20.0
FORGET_AFTER = timedelta(hours=1)
PARTS = ("dispatcher", "worker", "celery")


def beat(part: str) -> None:
    """Note that this process, one of `part`, is alive."""
    instance = f"{socket.gethostname()}:{os.getpid()}"[:100]
    PartHeartbeat.objects.update_or_create(
        part=part, instance=instance, defaults={"at": timezone.now()}
    )


def get_ages_s() -> dict[str, float | None]:
    """Seconds since the youngest sign of life of each part; None where there was none."""
    now = timezone.now()
    newest = dict(PartHeartbeat.objects.values_list("part").annotate(at=Max("at")).order_by())
    return {
        part: (now - newest[part]).total_seconds() if part in newest else None for part in PARTS
    }


def forget_old() -> None:
    """Drop processes that ended long ago."""
    PartHeartbeat.objects.filter(at__lt=timezone.now() - FORGET_AFTER).delete()
