"""Requests as a provider would send them, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apps.sources.schemes import Request, sample_request, sign
from apps.sources.schemes.providers import PROVIDERS

NOW = 1_700_000_000.0
URL = "https://hooks.example.com/hooks/orders"
BODY = b'{"id": "evt_1", "type": "order.paid", "data": {"amount": 1299}}'


def request_with(
    headers: Mapping[str, str], body: bytes = BODY, now: float = NOW, url: str = URL
) -> Request:
    lower = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return Request("POST", url, lower, body, now)


def signed_request(
    scheme: str,
    secret: str,
    options: Mapping[str, object] | None = None,
    body: bytes = BODY,
    event_id: str = "msg_1",
) -> Request:
    headers = sign(scheme, options or {}, secret, body, NOW, event_id, "order.paid", url=URL)
    address = PROVIDERS[scheme].family.address
    url = sampled(scheme, secret, options).url if address else URL
    return request_with(headers, body, url=url)


def sampled(
    scheme: str,
    secret: str,
    options: Mapping[str, object] | None = None,
    fields: Mapping[str, str] | None = None,
) -> Request:
    """A test event of the scheme, as it is received: also where it is signed inside the body."""
    sent = sample_request(
        scheme,
        options or {},
        secret,
        URL,
        NOW,
        fields=fields or {},
        event_id="id-1",
        event_type="kind.1",
    )
    request = request_with(sent.headers, sent.body, url=sent.url)
    request.method = sent.method
    return request


def with_header(request: Request, name: str, value: bytes) -> Request:
    return replace(request, headers={**request.headers, name.lower().encode(): value})


def without_header(request: Request, name: str) -> Request:
    left = {key: value for key, value in request.headers.items() if key != name.lower().encode()}
    return replace(request, headers=left)
