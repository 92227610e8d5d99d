"""What a pipeline sees of the received bytes."""

from __future__ import annotations

import pytest

from apps.pipelines.payload import PayloadNotJson, PayloadTooDeep, read_payload

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
MULTIPART_BODY = b'--x\r\nContent-Disposition: form-data; name="json"\r\n\r\n{"a": 1}\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("raw", "content_type", "payload"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "Application/JSON; charset=utf-8", {"a": 1}),
        (b"[1, 2]", "application/cloudevents+json", [1, 2]),
        (b'\xef\xbb\xbf{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "", {"a": 1}),
        (b'{"a": 1}', "text/plain", {"a": 1}),
        (b"hello", "text/plain", {"text": "hello"}),
        (b"<a/>", "application/xml", {"text": "<a/>"}),
        (b"\xff", "text/plain", {"text": "\ufffd"}),
        (b"command=%2Fask&text=hi+there", FORM, {"command": "/ask", "text": "hi there"}),
        (b"a=1&a=2&a=3&b=", FORM, {"a": ["1", "2", "3"], "b": ""}),
        (b"payload=%7B%22type%22%3A%22button%22%7D", FORM, {"type": "button"}),
        (b"payload=1&more=2", FORM, {"payload": "1", "more": "2"}),
        (b"", FORM, {}),
        (MULTIPART_BODY, MULTIPART, {"a": 1}),
        (b"no parts", MULTIPART, {"text": "no parts"}),
    ],
)
def test_it_reads_what_senders_send(raw: bytes, content_type: str, payload: object) -> None:
    assert read_payload(raw, content_type) == payload


@pytest.mark.parametrize("raw", [b"{", b"", b"\xff", b'{"a": NaN}', b"1" * 5000])
def test_it_refuses_what_only_says_it_is_json(raw: bytes) -> None:
    with pytest.raises(PayloadNotJson):
        read_payload(raw, "application/json")


def test_it_refuses_a_payload_too_deep_to_walk() -> None:
    with pytest.raises(PayloadTooDeep):
        read_payload(b"[" * 100_000 + b"]" * 100_000, "application/json")


def test_it_refuses_a_form_of_thousands_of_fields() -> None:
    with pytest.raises(PayloadNotJson):
        read_payload(b"&".join(b"a=1" for _ in range(5000)), FORM)
