"""The one client for addresses that a person typed.

It resolves the host, checks every address, and connects to the checked address: a name that
points elsewhere a moment later changes nothing. No redirects, no proxies, bounded in time and
size.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import certifi
import httpcore
from django.conf import settings

from apps.destinations.addresses import Address, Network, is_in, is_public, read_networks, resolve

DEFAULT_PORTS = {"http": 80, "https": 443}
LOWEST_FREE_PORT = 1024
MAX_URL_CHARS = 2000
MAX_BODY_BYTES = 65_536
DRAIN_S = 1.0
BROKEN = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)

_deadline: ContextVar[float] = ContextVar("deadline")
_pools: dict[tuple[str, ...], httpcore.ConnectionPool] = {}
_pools_lock = threading.Lock()


class EgressError(Exception):
    """The request got no answer. `str()` is a sentence; it never quotes the other side."""

    permanent = False


class EgressRefused(EgressError):
    """We don't send there: the sentence says why, and what to change."""

    permanent = True


@dataclass(frozen=True)
class Reply:
    """Status, and headers with lower-case names."""

    status: int
    headers: Mapping[str, str]


def check_url(url: str, whose: str = "destination") -> None:
    """Raises `EgressRefused` for an address that nothing is ever sent to. Resolves no name."""
    _parse(url, whose)


def check_address(
    address: Address, port: int, allowed: Iterable[Network], whose: str = "destination"
) -> None:
    """Raises `EgressRefused` where we don't connect to this address."""
    if is_in(address, allowed):
        return
    if not is_public(address):
        raise EgressRefused(
            f"The {whose}'s address leads to {address}, which is not public. "
            "If that is meant, add its network to EGRESS_ALLOW."
        )
    if port not in DEFAULT_PORTS.values() and port < LOWEST_FREE_PORT:
        raise EgressRefused(
            f"Port {port} is not for web servers: allowed are 80, 443 and 1024 upwards. "
            "If it is meant, add the address's network to EGRESS_ALLOW."
        )


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
    """One POST, over within `timeout_s` (looking up the name aside). Raises `EgressError`."""
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    with _exchange("POST", url, raw_headers, body, timeout_s) as response:
        reply = Reply(response.status, _read_headers(response))
        _drain(response)
    return reply


def get(url: str, timeout_s: float) -> bytes:
    """What a GET finds, over within `timeout_s` (looking up the name aside).

    Raises `EgressError`, also for every status but 200 and more than MAX_BODY_BYTES.
    """
    pieces, size = [], 0
    with _exchange("GET", url, [], None, timeout_s) as response:
        if response.status != HTTPStatus.OK:
            raise EgressError(f"The address answered {response.status} instead of 200.")
        for piece in response.iter_stream():
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise EgressError("The address answered with more than is read.")
    return b"".join(pieces)


@contextmanager
def _exchange(
    method: str,
    url: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes | None,
    timeout_s: float,
) -> Iterator[httpcore.Response]:
    target = _parse(url)
    pool = _get_pool(tuple(settings.EGRESS_ALLOW))
    with _time_limit(timeout_s):
        try:
            with pool.stream(method, target, headers=headers, content=body) as response:
                yield response
        except httpcore.TimeoutException:
            raise EgressError("The destination did not answer in time.") from None
        except BROKEN:
            raise EgressError("The connection to the destination failed.") from None


def _parse(url: str, whose: str = "destination") -> httpcore.URL:
    """The address in the parts that are used: nobody parses the text a second time."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        raise EgressRefused(f"The {whose}'s address can't be read.") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise EgressRefused(f"The {whose}'s address must begin with https:// or http://.")
    if not host or len(url) > MAX_URL_CHARS:
        raise EgressRefused(f"The {whose}'s address names no host, or is too long.")
    if parts.username is not None or parts.password is not None:
        raise EgressRefused(f"The {whose}'s address must not hold a user name or password.")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return httpcore.URL(
        scheme=parts.scheme,
        host=host,
        port=DEFAULT_PORTS[parts.scheme] if port is None else port,
        target=target,
    )


def _read_headers(response: httpcore.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }


def _drain(response: httpcore.Response) -> None:
    """Read what is left, so that the connection can be used again; the status has decided."""
    size = 0
    with _time_limit(min(DRAIN_S, _get_remaining_s())):
        try:
            for chunk in response.iter_stream():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    return
        except BROKEN:
            return


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    token = _deadline.set(time.monotonic() + limit_s)
    try:
        yield
    finally:
        _deadline.reset(token)


def _get_remaining_s() -> float:
    # Never 0: to a socket that would mean "don't block", not "time is up".
    return max(_deadline.get() - time.monotonic(), 0.001)


def _get_pool(allow: tuple[str, ...]) -> httpcore.ConnectionPool:
    # One pool for each EGRESS_ALLOW: no connection outlives the rule that let it through.
    with _pools_lock:
        if allow not in _pools:
            _pools[allow] = httpcore.ConnectionPool(
                ssl_context=_get_ssl_context(),
                max_connections=200,
                max_keepalive_connections=50,
                keepalive_expiry=3.0,
                network_backend=_CheckedBackend(allow),
            )
        return _pools[allow]


def close_connections() -> None:
    """Close every open connection: for the end of a process."""
    with _pools_lock:
        for pool in _pools.values():
            pool.close()
        _pools.clear()


@cache
def _get_ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # the machine's own authorities too
    context.load_verify_locations(certifi.where())
    return context


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, and to nothing else."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        self._allowed = read_networks(allow)
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._get_checked(host, port):
            try:
                stream = self._sockets.connect_tcp(str(address), port, _get_remaining_s())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream)
        raise failure

    def _get_checked(self, host: str, port: int) -> list[Address]:
        try:
            addresses = resolve(host, port)
        except (OSError, UnicodeError):
            raise EgressError("The destination's host name can't be found.") from None
        for address in addresses:
            check_address(address, port, self._allowed)
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the time of the whole request."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _get_remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _get_remaining_s())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        tls = self._stream.start_tls(ssl_context, server_hostname, _get_remaining_s())
        return _TimedStream(tls)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
