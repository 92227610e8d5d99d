"""Amazon SNS against a real TLS server: certificates are fetched, subscriptions confirmed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from apps.ingest.certificates import MAX_FETCHES, MAX_FETCHES_A_MINUTE, Certificates, certificates
from apps.sources.models import Source
from tests.fixtures.fake_amazon import (
    CERTIFICATE_PATH,
    CERTIFICATE_URL,
    HOST,
    SUBSCRIBE_PATH,
    TOPIC,
    FakeAmazon,
    make_message,
    signed,
)
from tests.ingest.conftest import Hooks, code_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_certificate_is_known() -> Iterator[None]:
    yield
    wait_until(lambda: not certificates._fetches, 10, "the end of the last fetch")
    certificates._known.clear()
    certificates._again_at.clear()
    certificates._started.clear()


@pytest.fixture
def topic(hooks: Hooks, helpdesk: Source, fake_amazon: FakeAmazon) -> Hooks:
    Source.objects.create(
        slug="topic",
        name="Topic",
        scheme="aws-sns",
        options={"topic_arn": TOPIC},
        pipeline=helpdesk.pipeline,
    )
    wait_until(lambda: hooks.client.post("/hooks/topic").status_code != 404, 3, "the source")
    return hooks


def post(hooks: Hooks, body: bytes) -> httpx.Response:
    """As SNS does it, which calls its JSON text."""
    headers = {"content-type": "text/plain; charset=UTF-8"}
    return hooks.client.post("/hooks/topic", content=body, headers=headers)


def test_the_first_message_waits_for_the_certificate_and_is_taken(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    body = signed(make_message())
    response = post(topic, body)
    assert response.status_code == 202
    (entry,) = topic.entries()
    assert (entry.body, entry.key, entry.secret_id) == (body, "9d2c5580", None)
    assert entry.event_type == "Notification"


def test_the_certificate_is_fetched_once(topic: Hooks, fake_amazon: FakeAmazon) -> None:
    for number in range(3):
        post(topic, signed(make_message(message_id=str(number))))
    assert len(topic.entries()) == 3
    assert fake_amazon.visits == [CERTIFICATE_PATH]


def test_a_message_that_somebody_else_signed_is_refused(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    body = signed(make_message(), Message="changed")
    assert code_of(post(topic, body)) == (401, "bad_signature")
    assert topic.entries() == []


def test_while_amazon_is_slow_the_answer_is_to_try_again(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    fake_amazon.delay_s = 2.5
    body, begin = signed(make_message()), time.monotonic()
    response = post(topic, body)
    assert code_of(response) == (503, "certificate_unavailable")
    assert time.monotonic() - begin < 2
    assert int(response.headers["retry-after"]) > 0
    wait_until(lambda: post(topic, body).status_code == 202, 5, "the certificate")
    assert fake_amazon.visits == [CERTIFICATE_PATH]


@pytest.mark.parametrize("page", [b"<html></html>", b"x" * 100_000, b""])
def test_what_is_no_certificate_is_not_believed_and_not_asked_for_at_once_again(
    topic: Hooks, fake_amazon: FakeAmazon, page: bytes
) -> None:
    fake_amazon.certificate = page
    for _ in range(3):
        assert code_of(post(topic, signed(make_message()))) == (503, "certificate_unavailable")
    assert fake_amazon.visits == [CERTIFICATE_PATH]


def test_a_subscription_is_confirmed_by_visiting_amazon(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    assert post(topic, signed(make_message("SubscriptionConfirmation"))).status_code == 200
    assert fake_amazon.visits == [CERTIFICATE_PATH, SUBSCRIBE_PATH]
    assert topic.entries() == []


def test_a_subscription_that_could_not_be_confirmed_is_asked_for_again(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    assert post(topic, signed(make_message())).status_code == 202
    fake_amazon.status = 500
    confirmation = signed(make_message("SubscriptionConfirmation"))
    response = post(topic, confirmation)
    assert code_of(response) == (503, "not_confirmed")
    assert int(response.headers["retry-after"]) > 0
    fake_amazon.status = 200
    assert post(topic, confirmation).status_code == 200


def test_a_confirmation_takes_less_than_two_seconds_however_slow_amazon_is(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    fake_amazon.delay_s = 0.6  # the certificate comes just in time, the visit takes as long
    begin = time.monotonic()
    assert post(topic, signed(make_message("SubscriptionConfirmation"))).status_code == 200
    assert time.monotonic() - begin < 2
    fake_amazon.delay_s = 2.5
    begin = time.monotonic()
    response = post(topic, signed(make_message("SubscriptionConfirmation")))
    assert code_of(response) == (503, "not_confirmed")
    assert time.monotonic() - begin < 2


def test_a_confirmation_that_amazon_did_not_sign_leads_nowhere(
    topic: Hooks, fake_amazon: FakeAmazon
) -> None:
    forged = signed(make_message("SubscriptionConfirmation"), Token="2")
    assert code_of(post(topic, forged)) == (401, "bad_signature")
    assert fake_amazon.visits == [CERTIFICATE_PATH]


def test_strangers_cannot_have_any_number_of_addresses_asked_for(fake_amazon: FakeAmazon) -> None:
    fake_amazon.delay_s = 0.5
    kept = Certificates()
    started = [kept._start(f"https://{HOST}/{number}.pem") for number in range(20)]
    fetches = [fetch for fetch in started if fetch is not None]
    assert len(fetches) == MAX_FETCHES
    for fetch in fetches:
        fetch.result(10)
    assert kept.get(CERTIFICATE_URL) is None
    assert not kept._fetches


def test_nor_any_number_in_a_minute(fake_amazon: FakeAmazon) -> None:
    kept = Certificates()
    for number in range(2 * MAX_FETCHES_A_MINUTE):
        if fetch := kept._start(f"https://{HOST}/{number}.pem"):
            fetch.result(10)
    assert len(fake_amazon.visits) == MAX_FETCHES_A_MINUTE
