"""`manage.py dispatcher`."""

from __future__ import annotations

from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from workers.dispatcher import run_dispatcher


class Command(BaseCommand):
    help = "Take events from the queue and start their workflows, until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        uvloop.run(run_dispatcher())
