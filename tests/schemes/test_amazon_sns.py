"""Amazon SNS: the certificate's address, the topic and the signed fields all have to be right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import CertificateUnavailable, SignatureRefused, Verifier, build_verifier
from tests.fixtures.fake_amazon import (
    CERTIFICATE_URL,
    SUBSCRIBE_URL,
    TOPIC,
    key_and_certificate,
    make_message,
    signed,
)
from tests.schemes.requests import NOW, request_with

THEN = {"Timestamp": "2023-11-14T22:13:20.000Z"}
MESSAGE = make_message() | THEN
CONFIRMATION = make_message("SubscriptionConfirmation") | THEN


def verifier(topic: str = TOPIC) -> Verifier:
    cache = {CERTIFICATE_URL: key_and_certificate()[1]}
    return build_verifier("aws-sns", {"topic_arn": topic}, [], fetch_certificate=cache.get)


def code_of(body: bytes, topic: str = TOPIC) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verifier(topic).verify(request_with({}, body))
    return refused.value.code


def test_a_message_of_the_topic_is_taken_with_its_id_and_type() -> None:
    verified = verifier().verify(request_with({}, signed(MESSAGE)))
    assert (verified.event_id, verified.event_type) == ("9d2c5580", "Notification")


@settings(deadline=None, max_examples=20)
@given(message=st.text(), subject=st.none() | st.text(min_size=1))
def test_any_message_round_trips(message: str, subject: str | None) -> None:
    sent = MESSAGE | {"Message": message} | ({} if subject is None else {"Subject": subject})
    assert verifier().verify(request_with({}, signed(sent))).secret_index == 0
    assert code_of(signed(sent, Message=message + " ")) == "bad_signature"


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "Type"])
def test_each_signed_field_counts(name: str) -> None:
    changed = {"Timestamp": "2023-11-14T22:13:21.000Z", "Type": "UnsubscribeConfirmation"}
    body = signed(MESSAGE, **{name: changed.get(name, "changed"), "Token": "1"})
    assert code_of(body) in {"bad_signature", "missing_signature"}


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://evil-sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem?x=https://evil.example",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://SNS.eu-west-1.amazonaws.com/../a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem\n",
    ],
)
def test_a_certificate_elsewhere_is_never_asked_for(url: str) -> None:
    asked: list[str] = []

    def fetch(address: str) -> bytes | None:
        asked.append(address)
        return key_and_certificate()[1]

    with pytest.raises(SignatureRefused) as refused:
        build_verifier("aws-sns", {"topic_arn": TOPIC}, [], fetch_certificate=fetch).verify(
            request_with({}, signed(MESSAGE, SigningCertURL=url))
        )
    assert refused.value.code == "untrusted_certificate"
    assert asked == []


def test_another_customers_topic_is_refused() -> None:
    assert code_of(signed(MESSAGE), "arn:aws:sns:eu-west-1:999999999999:orders") == "bad_signature"


def test_a_message_older_than_an_hour_is_refused() -> None:
    body = signed({**MESSAGE, "Timestamp": "2023-11-14T21:13:19.000Z"})
    assert code_of(body) == "stale_timestamp"


def test_a_certificate_that_is_not_fetched_yet_is_asked_for_by_its_url() -> None:
    empty = build_verifier("aws-sns", {"topic_arn": TOPIC}, [])
    with pytest.raises(CertificateUnavailable) as unavailable:
        empty.verify(request_with({}, signed(MESSAGE)))
    assert unavailable.value.url == CERTIFICATE_URL
    assert not unavailable.value.permanent


def test_a_confirmation_is_answered_with_the_address_to_visit() -> None:
    answer = verifier().handshake(request_with({}, signed(CONFIRMATION), NOW))
    assert answer is not None
    assert answer.visit_url == SUBSCRIBE_URL


def test_a_confirmation_that_leads_elsewhere_is_no_handshake() -> None:
    body = signed({**CONFIRMATION, "SubscribeURL": "https://evil.example/?Action=Confirm"})
    assert verifier().handshake(request_with({}, body)) is None
