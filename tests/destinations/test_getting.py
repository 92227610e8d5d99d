"""What a provider names is fetched by the same careful client: once, bounded, never elsewhere."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.destinations.egress import EgressError, EgressRefused, get
from tests.fixtures.fake_destination import FakeDestination


def test_it_gives_the_body_of_a_200(fake_destination: FakeDestination) -> None:
    assert get(f"{fake_destination.url}/page?a=b", 5) == b"{}"
    (visit,) = fake_destination.deliveries
    assert (visit.path, visit.body) == ("/page?a=b", b"")


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ("204", "answered 204"),
        ("404", "answered 404"),
        ("500", "answered 500"),
        ("302:http://127.0.0.1:1/", "answered 302"),
        ("huge", "more than is read"),
        ("cut", "failed"),
        ("reset", "failed"),
        ("hang", "in time"),
        ("drip", "in time"),
    ],
)
def test_every_other_answer_is_an_error_and_soon(
    fake_destination: FakeDestination, plan: str, reason: str
) -> None:
    fake_destination.plan = [plan]
    begin = time.monotonic()
    with pytest.raises(EgressError, match=reason):
        get(fake_destination.url, 0.5)
    assert time.monotonic() - begin < 2


def test_a_private_address_is_not_asked(fake_destination: FakeDestination, settings: Any) -> None:
    settings.EGRESS_ALLOW = []
    with pytest.raises(EgressRefused, match="EGRESS_ALLOW"):
        get(fake_destination.url, 5)
    assert fake_destination.connections == 0
