"""Requests beyond a source's rate are told when to come again, by all processes together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import pipeline_admin.asgi
from apps.ingest.app import Ingest
from apps.sources.models import Source
from apps.sources.rules import Rules
from apps.streams.clients import get_client
from tests.fixtures.servers import Server
from tests.ingest.conftest import BODY, Hooks, code_of, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def limit(source: Source, **rules: Any) -> None:
    source.rules = Rules.parse(rules).get_changed()
    source.save()


@pytest.fixture
def limited(hooks: Hooks, helpdesk: Source) -> Callable[..., None]:
    """Gives the helpdesk these rules, and waits until ingest has heard of them."""

    def limited(**rules: Any) -> None:
        limit(helpdesk, **rules)
        registry = pipeline_admin.asgi.ingest.registry
        wait_until(lambda: registry.sources["helpdesk"].row.rules == helpdesk.rules, 5)

    return limited


def post_many(hooks: Hooks, count: int, **headers: Any) -> list[int]:
    return [
        hooks.post(event_id=f"msg_{time.time_ns()}", **headers).status_code for _ in range(count)
    ]


def test_a_burst_is_taken_and_what_follows_is_told_when_to_come_again(
    hooks: Hooks, limited: Callable[..., None]
) -> None:
    limited(rate_per_minute=1, rate_burst=3)
    assert post_many(hooks, 4) == [202, 202, 202, 429]
    refused = hooks.post()
    assert code_of(refused) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(hooks.entries()) == 3


def test_who_waits_as_long_as_told_is_taken_in(hooks: Hooks, limited: Callable[..., None]) -> None:
    limited(rate_per_minute=20, rate_burst=1)

    def refuse() -> Any:
        answer = hooks.post(event_id=f"msg_{time.time_ns()}")
        return answer if answer.status_code == 429 else None

    refused = wait_until(refuse, 10, "a 429")
    time.sleep(int(refused.headers["retry-after"]))
    assert hooks.post().status_code == 202


def test_a_stranger_uses_up_the_rate_of_an_address_and_not_of_the_source(
    hooks: Hooks, limited: Callable[..., None]
) -> None:
    limited(rate_per_minute=1, rate_burst=1)
    stale = [hooks.post(age_s=900).status_code for _ in range(3)]
    assert [*stale, hooks.post().status_code] == [401, 401, 401, 202]
    limited(address_rate_per_minute=1, address_rate_burst=1)
    assert hooks.post(age_s=900).status_code == 401
    assert hooks.post(age_s=900).status_code == 429


def test_each_address_has_a_rate_of_its_own(hooks: Hooks, limited: Callable[..., None]) -> None:
    limited(address_rate_per_minute=1, address_rate_burst=2)
    assert post_many(hooks, 3, x_forwarded_for="192.0.2.1") == [202, 202, 429]
    assert post_many(hooks, 3, x_forwarded_for="192.0.2.2") == [202, 202, 429]
    # What the sender adds in front of its own address makes no other sender of it.
    assert post_many(hooks, 1, x_forwarded_for="198.51.100.1, 192.0.2.1") == [429]


def test_an_address_that_has_used_its_own_up_takes_nothing_from_the_others(
    hooks: Hooks, limited: Callable[..., None]
) -> None:
    limited(rate_per_minute=1, rate_burst=3, address_rate_per_minute=1, address_rate_burst=1)
    assert post_many(hooks, 5, x_forwarded_for="192.0.2.1") == [202, 429, 429, 429, 429]
    assert post_many(hooks, 1, x_forwarded_for="192.0.2.2") == [202]
    assert post_many(hooks, 1, x_forwarded_for="192.0.2.3") == [202]
    assert post_many(hooks, 1, x_forwarded_for="192.0.2.4") == [429]


def test_a_burst_that_nobody_set_is_ten_seconds_worth(
    hooks: Hooks, limited: Callable[..., None]
) -> None:
    limited(rate_per_minute=6)
    assert post_many(hooks, 2) == [202, 429]


async def ask(ingest: Ingest) -> int:
    """The status of the answer to an event, without a server in between."""
    headers = sign(BODY, f"msg_{time.time_ns()}")
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/helpdesk",
        "query_string": b"",
        "client": ("127.0.0.1", 4711),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        sent.append(message)

    await ingest(scope, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.fixture
def four_at_once(transactional_db: None, helpdesk: Source, valkey_url: str, settings: Any) -> None:
    settings.QUEUE_URLS = [valkey_url]
    get_client(valkey_url).flushall()
    limit(helpdesk, rate_per_minute=1, rate_burst=4)


async def test_two_ingests_share_one_limit(four_at_once: None) -> None:
    both = [Ingest(), Ingest()]
    for ingest in both:
        await ingest.start()
    try:
        statuses = [await ask(ingest) for _ in range(4) for ingest in both]
        assert [status == 429 for status in statuses] == [False] * 4 + [True] * 4
    finally:
        for ingest in both:
            await ingest.stop()


def test_a_queue_server_that_is_down_keeps_nobody_waiting_for_the_rate(
    start_hooks: Callable[[str], Any], own_valkey: Callable[[], Server], helpdesk: Source
) -> None:
    limit(helpdesk, rate_per_minute=1, rate_burst=1000)
    server = own_valkey()
    with start_hooks(server.address) as hooks:
        hooks.wait_until_ready()
        server.kill()
        began = time.monotonic()
        assert hooks.post().status_code in (202, 503)
        assert time.monotonic() - began < 2
        limit(helpdesk, rate_per_minute=1, rate_burst=1)
        wait_until(lambda: hooks.post().status_code == 429, 10)


def test_no_rate_asks_no_server(hooks: Hooks) -> None:
    headers = sign(BODY, "msg_1")
    assert hooks.client.post("/hooks/helpdesk", content=BODY, headers=headers).status_code == 202
    assert hooks.queue.keys("pipeline:limit:*") == []
