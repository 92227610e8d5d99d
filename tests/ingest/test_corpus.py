"""Real payloads that nobody of this project wrote go in with their own type, byte for byte."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import pytest
from django.conf import settings
from django.db import transaction

from apps.ingest.certificates import certificates
from apps.sources.models import Secret, Source
from apps.sources.schemes import make_secret, sign
from apps.sources.schemes.form import CONTENT_TYPE
from apps.sources.schemes.providers import PROVIDERS
from apps.streams.entries import STREAM
from tests.fixtures.fake_amazon import FakeAmazon, sign_as_paypal
from tests.ingest.conftest import Hooks
from tests.schemes.key_pairs import PROVIDERS_ALGORITHM, private_pem, public_pem
from tests.schemes.provider_signatures import paddle_classic_form

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.shared_data]

FORM = CONTENT_TYPE.decode()
# Their keys are the recorded accounts' own and sign inside the body, which must stay as it is:
# Adyen's other way of proving itself is taken.
OTHER_SCHEME = {"whatsapp": "meta-whatsapp", "adyen": "basic-auth"}
OPTIONS: dict[str, dict[str, object]] = {
    "linear": {"tolerance_s": None},  # the time stands in the body and was long ago
    "adyen": {
        field.name: field.default
        for field in PROVIDERS["adyen"].fields
        if field.name == "event_type_path"
    },
}
# What the provider's own field says, where the corpus was named otherwise or the body is silent.
TYPES = {
    "amazon-ses/bounce_event.json": "Bounce",
    "amazon-ses/multiple_bounce_event.json": "Bounce",
    "azure-alert/AzureAlert.Metric1.json": "Activated",
    "azure-alert/AzureAlert.WebTest.Resolved.json": "Resolved",
    "azure-container-registry/AzureContainerRegistry.json": "push",
    "brevo/inbound_basics.json": "",
    "convertkit/subscriber.subscriber_activate.json": "",
    "docker-hub/build_notice.json": "",
    "mailersend/sent_event.json": "activity.sent",
    "mailtrap/open_event.json": "open",
    "mandrill/click_event.json": "click",
    "mandrill/hard_bounce_event.json": "hard_bounce",
    "postal/deferred_event.json": "MessageDelayed",
    "postmark/bounce_event.json": "Bounce",
    "postmark/delivered_event.json": "Delivery",
    "resend/delivered_event.json": "email.delivered",
    "resend/hard_bounced_event.json": "email.bounced",
    "sendgrid/delivered_event.json": "delivered",
    "sendgrid/processed_event.json": "processed",
    "sparkpost/delivery_event.json": "delivery",
    "stripe/stripe.json": "",
    "trello/Trello1.json": "updateCard",
    "twilio/message.inbound.json": "received",
    "whatsapp/statuses.json": "messages",
    "wordpress/WordPress.txt": "comment_post",
    "zendesk/ticket.created.json": "",
    "zendesk/ticket.updated.2.json": "",
    "zendesk/ticket.updated.4.json": "",
}
CHALLENGES = {"discord/PING.json": 204}
"""Answered by the source itself: no events."""


class Sent(NamedTuple):
    """A payload as its provider would send it."""

    url: str
    headers: dict[str, str]
    body: bytes


class Account:
    """A provider that sends to a source of its own."""

    def __init__(self, provider: str, helpdesk: Source) -> None:
        self.provider = provider
        self.scheme = OTHER_SCHEME.get(provider, provider)
        self.options = OPTIONS.get(provider, {})
        stored = self.secret = self._make_secret()
        if self.scheme in PROVIDERS_ALGORITHM:
            stored = public_pem(PROVIDERS_ALGORITHM[self.scheme])
        with transaction.atomic():  # ingest must not see it before it has its secret
            source = Source.objects.create(
                slug=f"of-{provider}",
                name=provider,
                scheme=self.scheme,
                options=self.options,
                pipeline=helpdesk.pipeline,
            )
            Secret.objects.create(source=source, value=stored)

    def _make_secret(self) -> str:
        if self.scheme in PROVIDERS_ALGORITHM:
            return private_pem(PROVIDERS_ALGORITHM[self.scheme])
        return "webhook-1" if self.scheme == "paypal" else make_secret(self.scheme, self.options)

    def send(self, item: dict[str, Any], payload: bytes) -> Sent:
        """The request; its body is the payload, or the form that the provider makes of it."""
        kind, body = self._write(item, payload)
        url = f"{settings.PUBLIC_URL}/hooks/of-{self.provider}"
        if PROVIDERS[self.scheme].family.address:
            url = f"{url}?token={self.secret}"
        recorded = {name.lower(): value for name, value in item["headers"].items()}
        headers = {"content-type": kind} | recorded | self._sign(item, body, url)
        return Sent(url.removeprefix(settings.PUBLIC_URL), headers, body)

    def _write(self, item: dict[str, Any], payload: bytes) -> tuple[str, bytes]:
        """(content type, body); the corpus keeps three providers' forms as JSON."""
        if self.provider == "mandrill":
            return FORM, urlencode({"mandrill_events": payload}).encode()
        if self.provider == "twilio":
            return FORM, urlencode(json.loads(payload)).encode()
        if self.provider == "paddle-classic":
            fields = json.loads(payload)
            fields.pop("p_signature")
            return FORM, paddle_classic_form(fields)
        return item["content_type"], payload

    def _sign(self, item: dict[str, Any], body: bytes, url: str) -> dict[str, str]:
        if self.scheme == "paypal":
            return sign_as_paypal(self.secret, body)
        if PROVIDERS[self.scheme].family.fill:
            return {}
        kind, name, now = item["event_type"], item["file"], time.time()
        signed = sign(self.scheme, self.options, self.secret, body, now, name, kind, url=url)
        # A provider's fixed type ("System Hook") stays, and what the record has of its own.
        kept = {n: v for n, v in item["headers"].items() if "event" in n.lower()}
        lower = {name.lower(): value for name, value in signed.items()}
        lower.pop("content-type", None)
        return lower | {name.lower(): value for name, value in kept.items()}


@pytest.fixture
def corpus(shared_data: Path) -> list[tuple[dict[str, Any], bytes]]:
    """[(what is known of it, the payload)]"""
    folder = shared_data / "webhooks" / "corpus"
    index = json.loads((folder / "index.json").read_text("utf-8"))
    return [(item, (folder / item["file"]).read_bytes()) for item in index]


@pytest.fixture(autouse=True)
def _forget_certificates() -> Iterator[None]:
    yield
    certificates._known.clear()


def test_every_payload_goes_in_with_its_own_type_and_as_it_is(
    hooks: Hooks,
    helpdesk: Source,
    fake_amazon: FakeAmazon,
    corpus: list[tuple[dict[str, Any], bytes]],
) -> None:
    accounts = {p: Account(p, helpdesk) for p in sorted({item["provider"] for item, _ in corpus})}
    wrong, taken = [], 0
    for item, payload in corpus:
        sent = accounts[item["provider"]].send(item, payload)
        response = hooks.client.post(sent.url, content=sent.body, headers=sent.headers)
        got = response.status_code, [(e.event_type, e.body) for e in hooks.entries()]
        hooks.queue.delete(STREAM)
        if item["file"] in CHALLENGES:
            is_right = got == (CHALLENGES[item["file"]], [])
        else:
            kind = TYPES.get(item["file"], item["event_type"])
            is_right = got in ((202, [(kind, sent.body)]), (200, [(kind, sent.body)]))
            taken += 1
        if not is_right:
            wrong.append((item["file"], got[0], response.text[:200], [e[0] for e in got[1]]))
    assert wrong == []
    assert (taken, len(corpus)) == (174, 175)


def test_what_is_sent_as_a_form_is_the_payload(
    helpdesk: Source, corpus: list[tuple[dict[str, Any], bytes]]
) -> None:
    forms = ("mandrill", "twilio", "paddle-classic")
    for item, payload in corpus:
        if item["provider"] in forms:
            sent = Account(item["provider"], helpdesk).send(item, payload)
            Source.objects.filter(name=item["provider"]).delete()
            fields = dict(parse_qsl(sent.body.decode(), keep_blank_values=True))
            assert is_same(fields, json.loads(payload)), item["file"]


def is_same(fields: dict[str, str], document: Any) -> bool:
    """Whether the form says what the document says, its signature aside."""
    if "mandrill_events" in fields:
        return bool(json.loads(fields["mandrill_events"]) == document)
    own = {name: value for name, value in fields.items() if name != "p_signature"}
    return own == {name: value for name, value in document.items() if name != "p_signature"}
