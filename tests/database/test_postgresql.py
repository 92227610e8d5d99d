"""Whatever the tests promise of the database holds on PostgreSQL as it does on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline_admin.bootstrap.locations import BASE_DIR

# Tests that start the whole system or a browser bring a database of their own.
WITH_A_DATABASE = "database and not (e2e or browser or postgres or slow)"


@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_every_database_test_passes_on_postgresql_too(postgres_url: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", WITH_A_DATABASE, "-p", "no:cacheprovider"],
        cwd=BASE_DIR,
        env={**environ, "TEST_DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout[-8000:] + finished.stderr[-2000:]
