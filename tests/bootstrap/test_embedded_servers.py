"""The embedded servers come up as real servers and keep what they acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import redis
from temporalio.client import Client

from pipeline_admin.bootstrap import locations
from tests.fixtures.servers import Server, start_valkey


def test_valkey_fsyncs_every_write_before_it_answers(valkey_url: str) -> None:
    client = redis.Redis.from_url(valkey_url, decode_responses=True)
    config = client.config_get("append*", "no-appendfsync-on-rewrite", "maxmemory-policy", "port")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "always"
    assert config["no-appendfsync-on-rewrite"] == "no"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["port"] == "0"


def test_valkey_keeps_an_acknowledged_write_over_a_kill(own_valkey: Callable[[], Server]) -> None:
    server = own_valkey()
    redis.Redis.from_url(server.address).set("kept", "yes")
    server.kill()
    server.start()
    assert redis.Redis.from_url(server.address).get("kept") == b"yes"


def test_valkey_starts_in_a_path_with_spaces_and_in_a_very_long_one(tmp_path: Path) -> None:
    for folder in (tmp_path / "my own data", tmp_path / ("long" * 30)):
        folder.mkdir()
        server = start_valkey(folder)
        try:
            assert redis.Redis.from_url(server.address).ping()
            assert len(str(locations.valkey_socket(folder))) < 107
        finally:
            server.stop()


def test_temporal_answers_a_client(temporal_address: str) -> None:
    async def describe() -> str:
        client = await Client.connect(temporal_address)
        return client.namespace

    assert asyncio.run(describe()) == "default"
