"""Connections to providers whose address a person typed: to checked addresses, and no others.

The rules are those of destinations: public, or of a network in EGRESS_ALLOW. A name is looked up
for each connection, and the connection goes to the very address that was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import httpcore2
import httpx2
from django.conf import settings

from apps.destinations.addresses import Address, read_networks, resolve
from apps.destinations.egress import EgressRefused, check_address

Refuse = Callable[[str], Exception]
ORDINARY_HEADERS = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length"),
    *("content-type", "host", "idempotency-key", "transfer-encoding", "user-agent"),
}


class CheckedBackend(httpcore2.NetworkBackend):
    """Raises what `refuse` makes of the reason for an address that is not allowed."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        try:
            addresses = find_checked(host, port)
        except EgressRefused as error:
            raise self._refuse(str(error)) from None
        for address in addresses:
            try:
                return self._sockets.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


def find_checked(host: str, port: int) -> list[Address]:
    """Every address of the host. Raises `EgressRefused`, or ConnectError for an unknown name."""
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError):
        raise httpcore2.ConnectError("unknown name") from None
    allowed = read_networks(settings.EGRESS_ALLOW)
    for address in addresses:
        check_address(address, port, allowed, whose="provider")
    return addresses


def make_checked_transport(limits: httpx2.Limits, refuse: Refuse) -> httpx2.HTTPTransport:
    """As the client's own, without proxies, which would connect in our place."""
    transport = httpx2.HTTPTransport(limits=limits, trust_env=False)
    transport._pool = httpcore2.ConnectionPool(
        ssl_context=httpx2.create_ssl_context(),
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=CheckedBackend(refuse),
    )
    return transport


def drop_strange_headers(request: httpx2.Request) -> None:
    """What the client adds from the environment is for the provider of the settings: it may be a
    secret (OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID, OPENAI_PROJECT_ID).
    """
    for name in set(request.headers) - ORDINARY_HEADERS:
        if not name.startswith("x-stainless-"):
            del request.headers[name]
