"""An answer arrives at its destination: signed, once for the receiver, or with a clear failure."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.destinations.checks import WrongDestination, check_destination
from apps.destinations.deliver import DeliveryError, deliver
from apps.destinations.kinds.http import build_body
from apps.destinations.models import Destination, InboxItem
from apps.events.models import Event
from apps.sources.models import Source
from apps.sources.schemes import make_secret
from pipeline_admin.bootstrap.ports import free_ports
from tests.fixtures.cast import make_event
from tests.fixtures.fake_destination import SECRET, FakeDestination
from workers.contracts import Verdict

ANSWER = {"category": "billing", "note": "für Ada"}


@pytest.fixture
def event(helpdesk: Source) -> Event:
    return make_event(helpdesk, event_type="ticket.created")


@pytest.fixture
def desk(db: None, fake_destination: FakeDestination) -> Destination:
    return Destination.objects.create(
        slug="desk", name="Desk", kind="http", url=f"{fake_destination.url}/in?a=b", secret=SECRET
    )


def test_an_answer_is_posted_and_signed(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    assert deliver(event, desk, ANSWER).http_status == 200
    delivery = fake_destination.deliveries[0]
    assert delivery.is_genuine
    assert delivery.path == "/in?a=b"
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.document == {
        "id": event.public_id,
        "type": "pipeline.answer",
        "source": "helpdesk",
        "event_type": "ticket.created",
        "received_at": event.received_at.isoformat().replace("+00:00", "Z"),
        "answer": ANSWER,
    }


def test_id_and_body_are_the_same_at_every_try(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    for _ in range(2):
        deliver(event, desk, ANSWER)
    first, second = fake_destination.deliveries
    assert first.body == second.body == build_body(event, ANSWER)
    for name in ("webhook-id", "idempotency-key"):
        assert first.headers[name] == second.headers[name] == event.public_id


def test_a_receiver_with_another_secret_does_not_believe_it(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    desk.secret = make_secret("standard-webhooks")
    deliver(event, desk, ANSWER)
    assert not fake_destination.deliveries[0].is_genuine


def test_without_a_secret_nothing_is_signed(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    desk.secret = ""
    deliver(event, desk, ANSWER)
    headers = fake_destination.deliveries[0].headers
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == event.public_id


FAILURES = [
    # plan, code, verdict, HTTP status, retry after
    ("500", "receiver_failed", Verdict.FAILED, 500, None),
    ("503:9", "receiver_failed", Verdict.FAILED, 503, 9.0),
    ("429:4", "receiver_failed", Verdict.FAILED, 429, 4.0),
    ("408", "receiver_failed", Verdict.FAILED, 408, None),
    ("409", "receiver_failed", Verdict.FAILED, 409, None),
    ("425", "receiver_failed", Verdict.FAILED, 425, None),
    ("400", "receiver_refused", Verdict.NEVER, 400, None),
    ("404", "receiver_refused", Verdict.NEVER, 404, None),
    ("410", "receiver_refused", Verdict.NEVER, 410, None),
    ("reset", "destination_unreachable", Verdict.FAILED, None, None),
    ("hang", "destination_unreachable", Verdict.FAILED, None, None),
]


@pytest.mark.parametrize(
    ("plan", "code", "verdict", "status", "retry_after_s"),
    FAILURES,
    ids=[failure[0] for failure in FAILURES],
)
def test_a_failure_says_what_it_means(
    plan: str,
    code: str,
    verdict: Verdict,
    status: int | None,
    retry_after_s: float | None,
    event: Event,
    desk: Destination,
    fake_destination: FakeDestination,
    settings: Any,
) -> None:
    settings.DELIVERY_TIMEOUT_S = 0.5
    fake_destination.plan = [plan]
    with pytest.raises(DeliveryError) as caught:
        deliver(event, desk, ANSWER)
    error = caught.value
    assert (error.code, error.verdict) == (code, verdict)
    assert (error.http_status, error.retry_after_s) == (status, retry_after_s)
    assert len(fake_destination.deliveries) == 1


def test_no_redirect_is_followed(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    fake_destination.plan = [f"redirect:{fake_destination.url}/elsewhere"]
    with pytest.raises(DeliveryError) as caught:
        deliver(event, desk, ANSWER)
    assert (caught.value.code, caught.value.http_status) == ("receiver_refused", 302)
    assert len(fake_destination.deliveries) == 1


def test_a_receiver_that_does_not_listen_may_listen_later(event: Event, desk: Destination) -> None:
    desk.url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    with pytest.raises(DeliveryError) as caught:
        deliver(event, desk, ANSWER)
    assert (caught.value.code, caught.value.permanent) == ("destination_unreachable", False)


def test_a_private_address_is_refused_with_a_sentence_that_helps(
    event: Event, desk: Destination, fake_destination: FakeDestination, settings: Any
) -> None:
    settings.EGRESS_ALLOW = []
    with pytest.raises(DeliveryError, match="add its network to EGRESS_ALLOW") as caught:
        deliver(event, desk, ANSWER)
    assert (caught.value.code, caught.value.verdict) == ("destination_not_allowed", Verdict.NEVER)
    assert fake_destination.connections == 0


@pytest.mark.parametrize("plan", ["cut", "huge"])
def test_the_status_decides_whatever_happens_to_the_body(
    plan: str, event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    fake_destination.plan = [plan, "200"]
    assert deliver(event, desk, ANSWER).http_status == 200
    assert deliver(event, desk, ANSWER).http_status == 200


def test_a_dripping_receiver_is_given_up_in_time(
    event: Event, desk: Destination, fake_destination: FakeDestination, settings: Any
) -> None:
    settings.DELIVERY_TIMEOUT_S = 0.5
    fake_destination.plan = ["drip"]
    started = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        deliver(event, desk, ANSWER)
    assert caught.value.code == "destination_unreachable"
    assert time.monotonic() - started < 2


def test_deliveries_share_a_connection(
    event: Event, desk: Destination, fake_destination: FakeDestination
) -> None:
    for _ in range(3):
        deliver(event, desk, ANSWER)
    assert fake_destination.connections == 1


@pytest.mark.parametrize("answer", [ANSWER, "text", ["list"], None, 0])
def test_the_inbox_takes_one_item_an_event(
    answer: object, event: Event, inbox: Destination
) -> None:
    assert deliver(event, inbox, answer).http_status is None
    deliver(event, inbox, answer)
    item = InboxItem.objects.get()
    assert (item.event_id, item.answer) == (event.pk, answer)


def test_a_new_secret_passes_its_own_check() -> None:
    check_destination(
        kind="http", url="https://example.com/in", secret=make_secret("standard-webhooks")
    )
    check_destination(kind="inbox")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("kind", {"kind": "pigeon"}),
        ("url", {"kind": "http", "url": ""}),
        ("url", {"kind": "http", "url": "ftp://example.com"}),
        ("secret", {"kind": "http", "url": "https://example.com", "secret": "plain"}),
        ("secret", {"kind": "http", "url": "https://example.com", "secret": "whsec_short"}),
        ("secret", {"kind": "http", "url": "https://example.com", "secret": "whsec_€"}),
    ],
)
def test_a_wrong_field_is_named_without_the_secret(field: str, fields: dict[str, str]) -> None:
    with pytest.raises(WrongDestination) as caught:
        check_destination(**fields)
    assert caught.value.field == field
    assert "short" not in str(caught.value)
