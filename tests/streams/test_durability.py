"""Only a server that fsyncs before it answers is durable; the sentence says what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.streams.addresses import get_name
from apps.streams.clients import get_client
from apps.streams.durability import REQUIRED, get_durability, judge
from apps.streams.entries import Durability
from tests.fixtures.servers import Server
from tests.streams.conftest import NAME

GOOD_INFO = {"aof_enabled": "1", "aof_last_write_status": "ok"}


@pytest.mark.usefixtures("queue")
def test_a_server_with_the_flags_of_the_embedded_one_is_durable() -> None:
    assert get_durability() == [Durability(NAME, True)]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ],
)
def test_a_wrong_setting_is_named(
    own_server: Callable[[], Server], settings: Any, name: str, wrong: str
) -> None:
    settings.QUEUE_URLS = [own_server().address]
    client: Any = get_client(settings.QUEUE_URLS[0])
    client.config_set(name, wrong)
    (shard,) = get_durability()
    assert not shard.ok
    assert f"{name} is {wrong}" in shard.why
    client.close()


def test_a_failed_write_is_not_durable() -> None:
    verdict = judge("0", REQUIRED, GOOD_INFO | {"aof_last_write_status": "err"})
    assert not verdict.ok
    assert "disk" in verdict.why


def test_a_file_that_is_not_open_yet_is_not_durable() -> None:
    assert not judge("0", REQUIRED, GOOD_INFO | {"aof_enabled": "0"}).ok


def test_a_server_that_hides_its_settings_is_refused_unless_trusted(
    own_server: Callable[[], Server], settings: Any
) -> None:
    address = own_server().address
    client: Any = get_client(address)
    client.execute_command("ACL SETUSER default -config")
    settings.QUEUE_URLS = [address]
    assert "QUEUE_TRUSTED" in get_durability()[0].why
    settings.QUEUE_TRUSTED = True
    assert get_durability() == [Durability(get_name(address), True)]
    client.close()


def test_a_server_that_is_down_is_not_durable(settings: Any) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere/valkey.sock"]
    (shard,) = get_durability()
    assert not shard.ok
    assert "does not answer" in shard.why
