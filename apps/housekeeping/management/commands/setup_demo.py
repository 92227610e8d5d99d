"""`manage.py setup_demo`: what `up` prints after the first start."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from apps.housekeeping import demo


class Command(BaseCommand):
    help = "Make the first administrator and the demo pipeline; prints JSON with the password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-demo", action="store_true", help="only the administrator, no demo pipeline"
        )

    def handle(self, *_: Any, no_demo: bool = False, **__: Any) -> None:
        with transaction.atomic():
            password = demo.create_admin()
            # Only on the first start: who deleted the demo does not want it back.
            if password and not no_demo:
                demo.create_demo()
        answer = {
            "admin_user": demo.ADMIN_NAME,
            "admin_password": password,
            "curl": None if no_demo else demo.get_curl(),
        }
        self.stdout.write(json.dumps(answer))
