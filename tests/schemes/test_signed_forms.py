"""Paddle Classic and Braintree sign a form inside itself: each field of it counts."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sources.schemes import (
    Handshake,
    Request,
    SignatureRefused,
    Verified,
    Verifier,
    WrongOptions,
    build_verifier,
)
from apps.sources.schemes.form import CONTENT_TYPE
from tests.schemes.key_pairs import public_pem
from tests.schemes.provider_signatures import braintree_form, paddle_classic_form, php_serialize
from tests.schemes.requests import NOW, URL, request_with

FIELDS = {"alert_id": "7", "alert_name": "payment_succeeded", "customer_name": "Zoë & “Söhne”"}
XML = "<notification><kind>subscription_canceled</kind><subject/></notification>"
PAIR = ("integration_public_key", "integration_private_key")
SECRET = ":".join(PAIR)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter("p_signature".__ne__)
PROPERTY = settings(deadline=None, max_examples=20)


def form(body: bytes) -> Request:
    return request_with({"Content-Type": CONTENT_TYPE.decode()}, body)


def paddle() -> Verifier:
    return build_verifier("paddle-classic", {}, [public_pem("rsa-sha1")])


def braintree(*secrets: str) -> Verifier:
    return build_verifier("braintree", {}, secrets or [SECRET])


def is_refused(verifier: Verifier, body: bytes) -> bool:
    try:
        verifier.verify(form(body))
    except SignatureRefused:
        return True
    return False


def test_paddle_classic_tells_id_and_type() -> None:
    verified = paddle().verify(form(paddle_classic_form(FIELDS)))
    assert verified == Verified(0, "7", "payment_succeeded")


def test_the_fields_are_signed_as_php_writes_them() -> None:
    assert php_serialize({"b": "é", "a": ""}) == 'a:2:{s:1:"a";s:0:"";s:1:"b";s:2:"é";}'


@PROPERTY
@given(fields=st.dictionaries(NAMES, st.text(st.characters(codec="utf-8")), max_size=5))
def test_any_form_of_paddle_classic_is_accepted(fields: dict[str, str]) -> None:
    assert paddle().verify(form(paddle_classic_form(fields))).secret_index == 0


@pytest.mark.parametrize("verifier", [paddle(), braintree()], ids=["paddle-classic", "braintree"])
@PROPERTY
@given(mask=st.integers(1, 255))
def test_each_changed_byte_of_a_form_is_refused(verifier: Verifier, mask: int) -> None:
    body = paddle_classic_form(FIELDS)
    if type(verifier) is type(braintree()):
        body = braintree_form(XML, PAIR)
    known = parse_qsl(body.decode(), keep_blank_values=True)
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ mask]) + body[at + 1 :]
        # %3d and %3D, + and %20 are the same to whoever reads a form.
        read = parse_qsl(changed.decode("latin-1"), keep_blank_values=True)
        # Braintree's own libraries take a payload that has lost its last line break.
        same = read == known or [(name, value + "\n") for name, value in read[-2:-1]] == known[-1:]
        assert same or is_refused(verifier, changed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"p_signature=",
        b"alert_id=7",
        b"alert_id=7&p_signature=AAAA",
        paddle_classic_form(FIELDS) + b"&more=1",
        paddle_classic_form(FIELDS) + b"&alert_id=7",
        paddle_classic_form(FIELDS) + b"&alert_id[a]=7",
        b"\xff=\xfe&p_signature=AAAA",
    ],
)
def test_a_form_of_another_shape_is_refused(body: bytes) -> None:
    assert is_refused(paddle(), body)


def test_paddles_fields_as_json_are_no_form() -> None:
    request = replace(form(paddle_classic_form(FIELDS)), headers={})
    with pytest.raises(SignatureRefused) as refused:
        paddle().verify(request)
    assert refused.value.code == "malformed_signature"


def test_braintree_tells_the_kind_of_its_notification() -> None:
    verified = braintree().verify(form(braintree_form(XML, PAIR)))
    assert verified == Verified(0, None, "subscription_canceled")


@PROPERTY
@given(
    private=st.text(st.characters(codec="utf-8"), min_size=1),
    subject=st.text(st.characters(codec="utf-8")),
)
def test_any_notification_of_braintree_is_accepted(private: str, subject: str) -> None:
    body = braintree_form(f"<n><kind>check</kind>{subject}</n>", ("public", private))
    assert braintree(f"public:{private}").verify(form(body)).event_type == "check"
    assert is_refused(braintree(f"public:{private}x"), body)


def test_braintree_signs_with_each_key_and_one_has_to_be_ours() -> None:
    others = ("other", "key"), ("another", "key")
    body = braintree_form(XML, others[0], PAIR)
    assert braintree("x:y", SECRET).verify(form(body)).secret_index == 1
    assert is_refused(braintree(), braintree_form(XML, *others))
    assert is_refused(braintree(), braintree_form(XML, (PAIR[0], "other")))
    assert is_refused(braintree(), braintree_form(XML, ("other", PAIR[1])))


def test_a_payload_that_lost_its_last_line_break_is_braintrees_too() -> None:
    body = braintree_form(XML, PAIR)
    fields = dict(parse_qsl(body.decode()))
    shorter = urlencode(fields | {"bt_payload": fields["bt_payload"].rstrip("\n")}).encode()
    assert braintree().verify(form(shorter)).event_type == "subscription_canceled"


@pytest.mark.parametrize("body", [b"", b"bt_payload=AA==", b"bt_signature=a|b", b"\xff"])
def test_a_form_without_payload_or_signature_is_refused(body: bytes) -> None:
    assert is_refused(braintree(), body)


def test_braintrees_challenge_gets_the_answer_of_its_libraries() -> None:
    answer = challenge("20f9f8ed05f77439fe955c977e4c8a53")
    assert answer == Handshake(
        body=b"integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4"
    )


@pytest.mark.parametrize(
    "text", ["", "abc", "20F9F8ED05F77439FE955C977E4C8A53", "z" * 32, "a" * 33]
)
def test_braintree_is_not_a_way_to_have_a_payload_signed(text: str) -> None:
    with pytest.raises(SignatureRefused):
        challenge(text)


def challenge(text: str) -> Handshake | None:
    request = Request("GET", f"{URL}?bt_challenge={text}", {}, b"", NOW)
    return braintree().handshake(request)


def test_an_answered_challenge_is_no_notification() -> None:
    text = "20f9f8ed05f77439fe955c977e4c8a53"
    answer = challenge(text)
    assert answer is not None
    fields = {"bt_payload": text, "bt_signature": answer.body.decode()}
    assert is_refused(braintree(), urlencode(fields).encode())
    assert len(base64.b64decode(text)) == 24


@pytest.mark.parametrize("secret", ["public", "public:", ":private", "pübl:private", ""])
def test_braintrees_keys_are_a_pair(secret: str) -> None:
    with pytest.raises(WrongOptions) as wrong:
        braintree(secret)
    assert wrong.value.field == "secrets"
