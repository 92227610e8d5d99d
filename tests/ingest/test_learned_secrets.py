"""A secret that a provider hands over in its challenge is learned once, by whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from apps.audit.models import AuditEntry
from apps.ingest.handshakes import finish_handshake
from apps.sources.models import Source
from apps.sources.schemes import Handshake


def learn(source: Source, value: str) -> None:
    async_to_sync(finish_handshake)(source.pk, Handshake(learned_secret=value))


@pytest.fixture
def bare(transactional_db: None, helpdesk: Source) -> Source:
    """A source that has no secret yet."""
    helpdesk.secrets.all().delete()
    return helpdesk


def test_the_first_secret_is_learned_and_the_audit_knows(bare: Source) -> None:
    learn(bare, "first")
    assert [secret.value for secret in bare.secrets.all()] == ["first"]
    assert AuditEntry.objects.get(action="secret.learn").actor_name == "system"


def test_a_second_stranger_plants_none(bare: Source) -> None:
    learn(bare, "first")
    learn(bare, "second")
    assert [secret.value for secret in bare.secrets.all()] == ["first"]


def test_retiring_the_last_secret_opens_no_door(bare: Source) -> None:
    learn(bare, "first")
    bare.secrets.get().retire()
    learn(bare, "second")
    assert bare.get_active_secrets() == []


def test_of_two_at_once_one_is_learned(bare: Source) -> None:
    def try_to_learn(value: str) -> None:
        try:
            learn(bare, value)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_to_learn, ["a", "b", "c", "d"]))
    assert bare.secrets.count() == 1
