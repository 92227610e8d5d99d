"""`manage.py worker`."""

from __future__ import annotations

from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from workers.temporal_worker import run_worker


class Command(BaseCommand):
    help = "Run workflows and their steps, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        uvloop.run(run_worker())
