"""Migrations say what the models say, and lead back as well as forth."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.sources.models import Source
from tests.fixtures.cast import make_event

OURS = (
    *(
        "accounts",
        "approvals",
        "audit",
        "dashboard",
        "destinations",
        "events",
        "ingest",
        "llm",
        "pipelines",
    ),
    "sources",
)


def test_no_change_of_a_model_lacks_its_migration(db: None) -> None:
    out = StringIO()
    call_command("makemigrations", check=True, dry_run=True, stdout=out, stderr=out)


@pytest.mark.django_db(transaction=True)
def test_the_configuration_goes_back_to_nothing_and_forth_again() -> None:
    def get_tables() -> set[str]:
        names = connection.introspection.table_names()
        return {name for name in names if name.split("_")[0] in OURS}

    before = get_tables()
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate([(app, None) for app in OURS])
    gone = get_tables()
    MigrationExecutor(connection).migrate(newest)
    assert before
    assert gone == set()
    assert get_tables() == before


@pytest.mark.django_db(transaction=True)
def test_events_survive_the_way_to_conflicts_and_back(helpdesk: Source) -> None:
    event = make_event(helpdesk, status="delivered")
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        for target in ([("events", "0001_initial")], newest):
            MigrationExecutor(connection).migrate(target)
            assert get_event_keys() == [event.idempotency_key]
    finally:
        MigrationExecutor(connection).migrate(newest)
    event.refresh_from_db()
    assert (event.body_sha256, event.secret, event.status) == ("", None, "delivered")


def get_event_keys() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT idempotency_key FROM events_event")
        return [key for (key,) in cursor.fetchall()]
