"""Makes an API token and prints it, and nothing else, on stdout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.accounts.models import SCOPES, ApiToken, User
from apps.audit.models import AuditEntry

NAMES = [name for name, _ in SCOPES]


class Command(BaseCommand):
    """`create_token --user admin --scope all`"""

    help = "Make an API token for a user and print it: TOKEN=$(manage.py create_token …)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="Whom the token acts for.")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            dest="scopes",
            help=f"May be given several times: {', '.join(NAMES)}.",
        )
        parser.add_argument("--name", default="command line", help="What it is for.")
        parser.add_argument("--days", type=int, help="Ends after so many days; never unless told.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self._get_user(options["user"])
        self._check(options["scopes"], options["name"], options["days"])
        lifetime = timedelta(days=options["days"]) if options["days"] else None
        with transaction.atomic():
            token, text = ApiToken.issue(user, options["name"], options["scopes"], lifetime)
            AuditEntry.record(
                None, "token.create", token, user=user.username, scopes=options["scopes"]
            )
        self.stdout.write(text)

    def _get_user(self, name: str) -> User:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user “{name}”.")
        if not user.is_active:
            raise CommandError(f"The user “{name}” is switched off.")
        return user

    def _check(self, scopes: list[str], name: str, days: int | None) -> None:
        unknown = [scope for scope in scopes if scope not in NAMES]
        if unknown:
            raise CommandError(f"There is no scope “{unknown[0]}”: choose from {', '.join(NAMES)}.")
        if not 0 < len(name) <= 100:
            raise CommandError("--name takes 1 to 100 characters.")
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days takes a whole number from 1 to 3650.")
