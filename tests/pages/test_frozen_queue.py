"""A queue server that is frozen, even the first of several, keeps no page waiting."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.sources.models import Source
from tests.fixtures.servers import Server
from tests.pages.conftest import Browse

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def paused(helpdesk: Source) -> Source:
    """Its page asks whether it may be deleted, and so how much waits in the queue."""
    Source.objects.filter(pk=helpdesk.pk).update(paused_at=timezone.now() - timedelta(hours=1))
    return helpdesk


@pytest.fixture(autouse=True)
def _frozen_first_shard(
    settings: Any, own_valkey: Callable[[], Server], valkey_url: str, paused: Source
) -> Iterator[None]:
    frozen = own_valkey()
    settings.QUEUE_URLS = [f"{frozen.address}#frozen", valkey_url]
    os.kill(frozen.process.pid, signal.SIGSTOP)
    yield
    os.kill(frozen.process.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "address", ["/", "/live/parts/", "/events/", "/dead-letters/", "/sources/source/{}/change/"]
)
def test_a_page_comes_within_two_seconds(
    sign_in: Browse, alice: User, paused: Source, address: str
) -> None:
    browser = sign_in(alice)
    began_s = time.monotonic()
    assert browser.get(address.format(paused.pk)).status_code == 200
    assert time.monotonic() - began_s < 2


def test_a_change_is_saved_within_two_seconds(paused: Source) -> None:
    began_s = time.monotonic()
    assert paused.resume()
    assert time.monotonic() - began_s < 2


def test_the_page_names_the_shard(sign_in: Browse, vera: User) -> None:
    html = sign_in(vera).get("/live/parts/").content.decode()
    assert "Shard frozen: The queue server does not answer" in html
