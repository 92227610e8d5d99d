"""What waits between ingest and the database is bounded, and shared fairly by the sources."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from apps.ingest import metrics
from apps.ingest.models import RefusedRequest
from apps.ingest.refused_keeper import (
    BATCH,
    WAITING_MAX_BYTES,
    WAITING_OF_A_SOURCE_MAX,
    RefusedKeeper,
)
from apps.ingest.registry import SourceRow, read_source
from apps.sources.models import Source
from apps.sources.schemes import CertificateUnavailable, Request, SignatureRefused
from apps.sources.schemes.base import BadSignature
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
URL = "http://127.0.0.1:8000/hooks/helpdesk"


@pytest.fixture
def shop(helpdesk: Source) -> Source:
    return Source.objects.create(
        slug="shop", name="Shop", scheme="github", pipeline=helpdesk.pipeline
    )


@pytest.fixture
def keeper() -> Iterator[RefusedKeeper]:
    keeper = RefusedKeeper()
    yield keeper
    asyncio.run(keeper.stop())


def get_row(source: Source) -> SourceRow:
    compiled = read_source(source.pk)
    assert compiled is not None
    return compiled.row


def keep(keeper: RefusedKeeper, row: SourceRow, body: bytes) -> None:
    headers = {b"content-type": b"application/json", b"x-forwarded-for": b"198.51.100.4"}
    request = Request("POST", URL, headers, body, time.time())
    request.client = ("127.0.0.1", 5000)
    keeper.keep(row, request, BadSignature("The signature does not match."))


def get_dropped(source: Source) -> float:
    return float(metrics.REFUSED_DROPPED.labels(source.slug)._value.get())


@contextmanager
def database_that_takes_no_writes() -> Iterator[None]:
    with transaction.atomic():
        if connection.vendor == "postgresql":
            connection.cursor().execute(f"LOCK TABLE {RefusedRequest._meta.db_table}")
        yield


def test_what_does_not_fit_is_dropped_and_counted(
    keeper: RefusedKeeper, helpdesk: Source, shop: Source
) -> None:
    flooded, quiet = get_row(helpdesk), get_row(shop)
    before = get_dropped(helpdesk)
    sent = 1000
    with database_that_takes_no_writes():
        for number in range(sent):
            keep(keeper, flooded, b"%d" % number)
        keep(keeper, quiet, b"the only one")
        dropped = get_dropped(helpdesk) - before
        assert sent - WAITING_OF_A_SOURCE_MAX - BATCH <= dropped <= sent - WAITING_OF_A_SOURCE_MAX

    wait_until(lambda: RefusedRequest.objects.filter(source=shop).exists(), 20, "the other's")
    wait_until(lambda: RefusedRequest.objects.count() == sent - dropped + 1, 20, "the rest")


def test_large_bodies_are_bounded_by_their_bytes(keeper: RefusedKeeper, helpdesk: Source) -> None:
    row, megabyte = get_row(helpdesk), 1_000_000
    before = get_dropped(helpdesk)
    with database_that_takes_no_writes():
        for number in range(60):
            keep(keeper, row, b"%d" % number + b"x" * megabyte)
        dropped = get_dropped(helpdesk) - before
    # One batch may have been taken out of the room, to be written.
    assert 60 - dropped <= 2 * WAITING_MAX_BYTES // megabyte
    assert dropped > 0


def test_the_sender_is_the_one_that_a_trusted_proxy_names(
    keeper: RefusedKeeper, helpdesk: Source
) -> None:
    keep(keeper, get_row(helpdesk), b"{}")

    wait_until(RefusedRequest.objects.exists, 10, "the request")
    assert RefusedRequest.objects.get().address == "198.51.100.4"


def test_what_the_sender_will_send_again_by_itself_is_not_kept(
    keeper: RefusedKeeper, helpdesk: Source
) -> None:
    row = get_row(helpdesk)
    request = Request("POST", URL, {}, b"{}", time.time())

    later: SignatureRefused = CertificateUnavailable("https://sns.example.com/c.pem")
    keeper.keep(row, request, later)
    keep(keeper, row, b"{}")

    wait_until(RefusedRequest.objects.exists, 10, "the other")
    assert [kept.code for kept in RefusedRequest.objects.all()] == ["bad_signature"]


def test_a_deleted_source_costs_its_own_requests_and_no_other(
    keeper: RefusedKeeper, helpdesk: Source, shop: Source
) -> None:
    gone, there = get_row(shop), get_row(helpdesk)
    Source.objects.filter(pk=shop.pk).delete()

    keep(keeper, gone, b"{}")
    keep(keeper, there, b"{}")

    wait_until(RefusedRequest.objects.exists, 10, "the other's")
    assert RefusedRequest.objects.get().source == helpdesk
