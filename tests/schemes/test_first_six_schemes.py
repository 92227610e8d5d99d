"""Each of the first six schemes takes an example and tells what it is.

The examples are those of the providers' documentation and libraries; where there is none with an
id and a type, the signature was computed with Python's own hmac.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.sources.schemes import SignatureRefused, Verified, build_verifier
from tests.schemes.requests import request_with

STANDARD = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
)
GITHUB = (
    "It's a Secret to Everybody",
    {
        "X-Hub-Signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    },
    b"Hello, World!",
)
SLACK = (
    "8f742231b10e8888abcd99yyyzzz85a5",
    {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "Content-Type": "application/x-www-form-urlencoded",
    },
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
    b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
)


def test_standard_webhooks_takes_the_example_of_its_libraries() -> None:
    secret, headers, body = STANDARD
    verified = build_verifier("standard-webhooks", {}, [secret]).verify(
        request_with(headers, body, now=1614265330)
    )
    assert verified == Verified(0, "msg_p5jXN8AQM9LWM0D4loKWxJek", "")


def test_github_takes_the_example_of_its_documentation() -> None:
    secret, headers, body = GITHUB
    verified = build_verifier("github", {}, [secret]).verify(request_with(headers, body))
    assert verified == Verified(0, "72d3162e-cc78-11e3-81ab-4c9367dc0958", "push")


def test_slack_takes_the_example_of_its_documentation() -> None:
    secret, headers, body = SLACK
    verified = build_verifier("slack", {}, [secret]).verify(
        request_with(headers, body, now=1531420618)
    )
    assert verified == Verified(0, None, "/webhook-collect")


def test_stripe_tells_id_and_type_from_the_body() -> None:
    body = b'{"id": "evt_9", "object": "event", "type": "charge.refunded"}'
    right = "279d30765fd26798da16b09d27ef524b8b48a21de053c4c502dcdbe163ba3abf"
    headers = {"Stripe-Signature": f"t=1700000000,v1={'0' * 64},v1={right},v0={'1' * 64}"}
    verified = build_verifier("stripe", {}, ["whsec_text"]).verify(request_with(headers, body))
    assert verified == Verified(0, "evt_9", "charge.refunded")


def test_shopify_tells_id_and_topic_from_its_headers() -> None:
    headers = {
        "X-Shopify-Hmac-Sha256": "VHlgYsaDRO2dp06Qrx+wlkdEWzPdswIV/zRfjLk5CYE=",
        "X-Shopify-Topic": "orders/paid",
        "X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    }
    verified = build_verifier("shopify", {}, ["shpss_1"]).verify(request_with(headers, b"{}"))
    assert verified == Verified(0, "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "orders/paid")


def test_a_custom_scheme_is_what_its_options_say() -> None:
    options = {
        "header": "X-Sig",
        "prefix": "sig=",
        "algorithm": "hmac-sha512",
        "encoding": "base64",
        "key_form": "hex",
        "signed": "{header:X-Nonce}|{timestamp}|{body}",
        "timestamp_header": "X-Time",
        "timestamp_unit": "milliseconds",
        "tolerance_s": 60,
        "event_id_path": "order.id",
        "event_type_path": "join('.', [kind, action])",
    }
    body = b'{"order": {"id": 77}, "kind": "order", "action": "paid"}'
    headers = {
        "X-Nonce": "n-1",
        "X-Time": "1700000000000",
        "X-Sig": "sig=4cm5kQ",
    }
    verifier = build_verifier("hmac", options, ["00ff10"])
    with pytest.raises(SignatureRefused):
        verifier.verify(request_with(headers, body))
    headers["X-Sig"] = (
        "sig=SQ1XGV8dBUB4Rq7Qr2PEIun7OfUBM+0b0AzusQ1ht4S7VnzdtjUcS4akEX27MVsuNaTaf9p8D5Qs60PVuAoFGw=="
    )
    assert verifier.verify(request_with(headers, body)) == Verified(0, "77", "order.paid")


@pytest.mark.parametrize(("age_s", "code"), [(301, "stale_timestamp"), (-301, "future_timestamp")])
def test_standard_webhooks_refuses_a_timestamp_301_seconds_away(age_s: int, code: str) -> None:
    secret, headers, body = STANDARD
    request = request_with(headers, body, now=1614265330 + age_s)
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("standard-webhooks", {}, [secret]).verify(request)
    assert refused.value.code == code


@pytest.mark.parametrize("age_s", [300, 300.9, -300])
def test_standard_webhooks_takes_a_timestamp_exactly_300_seconds_away(age_s: float) -> None:
    secret, headers, body = STANDARD
    request = request_with(headers, body, now=1614265330 + age_s)
    assert build_verifier("standard-webhooks", {}, [secret]).verify(request).secret_index == 0


def test_any_active_secret_will_do_and_is_named() -> None:
    secret, headers, body = GITHUB
    verifier = build_verifier("github", {}, ["older", secret, "newer"])
    assert verifier.verify(request_with(headers, body)).secret_index == 1


def test_the_raw_bytes_are_what_is_verified() -> None:
    secret, headers, body = GITHUB
    request = replace(request_with(headers, body), body=body + b"\n")
    with pytest.raises(SignatureRefused) as refused:
        build_verifier("github", {}, [secret]).verify(request)
    assert refused.value.code == "bad_signature"
