"""The database's part of a start, in one process because loading Django twice takes seconds.

Run inside the virtual environment: `python -m pipeline_admin.bootstrap.django_setup [--no-demo]`.
Migrates, then prints what `setup_demo` prints: JSON with `admin_user`, `admin_password` (null
when the user was there before) and `curl` (null without a demo).
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Migrate and set up; what is said about the migrations goes to stderr, the log."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pipeline_admin.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, stdout=sys.stderr)
    call_command("setup_demo", *sys.argv[1:])


if __name__ == "__main__":
    main()
