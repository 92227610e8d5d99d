"""Whatever the tests promise of the database holds on PostgreSQL as it does on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.db import connection

from pipeline_admin.bootstrap.locations import BASE_DIR

# Tests that start the whole system or a browser bring a database of their own.
WITH_A_DATABASE = "database and not (e2e or browser or postgres or slow)"

# The threads of a worker keep their connections until their process ends, which psycopg warns of.
QUIET = (
    *("-p", "no:cacheprovider", "-W", "ignore::ResourceWarning"),
    *(
        "-W",
        "ignore::pytest.PytestUnraisableExceptionWarning",
        "-W",
        "ignore::pytest.PytestWarning",
    ),
)
# What tests/conftest.py has set for this run. With DJANGO_SETTINGS_MODULE inherited, the settings
# would be read before the other run's conftest has named its database.
OWN = {"DJANGO_SETTINGS_MODULE", "DATA_DIR", "DATABASE_URL", "SECRET_KEY", "VAULT_KEYS"}


@pytest.mark.django_db
def test_the_run_is_on_the_database_that_was_asked_for() -> None:
    assert connection.vendor == os.environ.get("EXPECTED_VENDOR", connection.vendor)


@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_every_database_test_passes_on_postgresql_too(postgres_url: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in OWN}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", WITH_A_DATABASE, *QUIET],
        cwd=BASE_DIR,
        env={**environ, "TEST_DATABASE_URL": postgres_url, "EXPECTED_VENDOR": "postgresql"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout[-8000:] + finished.stderr[-2000:]
