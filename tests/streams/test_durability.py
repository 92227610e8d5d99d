"""Only a server that fsyncs before it answers is durable; the sentence says what to change."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.streams.clients import get_client
from apps.streams.durability import REQUIRED, get_durability, judge
from apps.streams.entries import Durability
from pipeline_admin.bootstrap.readiness import valkey_answers
from tests.fixtures.servers import Server
from tests.waiting import wait_until

GOOD_INFO = {"aof_enabled": "1", "aof_last_write_status": "ok"}
REDIS = Path("/usr/bin/redis-server")


@pytest.mark.usefixtures("queue")
def test_the_embedded_server_is_durable() -> None:
    assert get_durability() == [Durability("0", True)]


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
    own_valkey: Callable[[], Server], settings: Any, name: str, wrong: str
) -> None:
    settings.QUEUE_URLS = [own_valkey().address]
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
    own_valkey: Callable[[], Server], settings: Any
) -> None:
    address = own_valkey().address
    client: Any = get_client(address)
    client.execute_command("ACL SETUSER default -config")
    settings.QUEUE_URLS = [address]
    assert "QUEUE_TRUSTED" in get_durability()[0].why
    settings.QUEUE_TRUSTED = True
    assert get_durability() == [Durability("0", True)]
    client.close()


def test_a_server_that_is_down_is_not_durable(settings: Any) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere/valkey.sock"]
    (shard,) = get_durability()
    assert not shard.ok
    assert "does not answer" in shard.why


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Redis 7.0, the oldest server that is promised."""
    if not REDIS.exists():
        pytest.skip("needs Debian's redis-server")
    socket_path = tmp_path / "redis.sock"
    options = ("--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always")
    process = subprocess.Popen(
        [str(REDIS), *options, "--unixsocket", str(socket_path)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: valkey_answers(socket_path), 10, "Redis")
    url = f"unix://{socket_path}"
    yield url
    get_client(url).close()
    process.kill()
    process.wait()


def test_redis_7_is_judged_by_the_same_rules(redis_url: str, settings: Any) -> None:
    settings.QUEUE_URLS = [redis_url]
    assert get_durability() == [Durability("0", True)]
    get_client(redis_url).config_set("appendfsync", "everysec")
    assert "appendfsync is everysec" in get_durability()[0].why
