"""HTTP as uvicorn speaks it, with a short way for plain events.

A POST with a Content-Length to a source that needs nothing else goes from the parser to the queue
and back to the socket. It costs neither a task nor an ASGI scope, which are a third of what
uvicorn spends on a request (measured). Everything else is uvicorn's own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, cast

from httptools import HttpParserCallbackError, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from apps.ingest.answers import Answer
from apps.ingest.app import REFUSED, Ingest
from apps.ingest.reading import BODY_TIMEOUT_S, too_slow
from apps.ingest.registry import CompiledSource
from apps.sources.schemes import Request
from apps.streams.appender import Answer as Stored

# More is given to the socket at once, so that its flow control is felt.
FLUSH_BYTES = 32_768
# Of answers; those of events are a handful for each source.
HEADS_MAX = 64
# The head of a request: URL and headers. Neither proxies nor providers send a quarter of it.
HEAD_MAX_BYTES = 65_536
# How long a connection may say nothing before its first request, or take for a head.
HEAD_TIMEOUT_S = 20.0
# Headers that only the long way understands.
SPECIAL = (b"content-encoding", b"expect", b"transfer-encoding")

# What asks for another protocol than this one; Java's client asks for HTTP/2 on every http address.
UPGRADING = (b"upgrade", b"http2-settings", b"connection")
CLOSING = b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"

DefaultHeaders = list[tuple[bytes, bytes]]


class OneWriteTransport:
    """Joins the writes of one turn of the loop.

    uvicorn writes the head and the body of an answer apart, and for a small answer the kernel's
    work on the second write is a seventh of all that a request costs (measured).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.inner = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size > FLUSH_BYTES:
            self.flush()

    def write_whole(self, data: bytes) -> None:
        """Write what nothing will follow; cheaper by one call of the loop."""
        if self._pieces:
            self.write(data)
        else:
            self.inner.write(data)

    def flush(self) -> None:
        """Write what waits, now."""
        if not self._pieces:
            return
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self.inner.write(data)

    def close(self) -> None:
        self.flush()
        self.inner.close()


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's own protocol behind a `OneWriteTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        joined = OneWriteTransport(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, joined))
        # Asked for each request; through __getattr__ it would cost more.
        joined.is_closing = transport.is_closing  # type: ignore[attr-defined]

    def handle_websocket_upgrade(self) -> None:
        # A WebSocket's small messages must not wait, and its protocol knows its own transport.
        joined = cast(OneWriteTransport, self.transport)
        joined.flush()
        self.transport = joined.inner
        super().handle_websocket_upgrade()


class Exchange:
    """What uvicorn wants to know of a request in work; one for each connection, used again."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.response_complete = True
        self.keep_alive = True
        self.disconnected = False
        self.message_event = asyncio.Event()  # set when the connection is lost; nobody waits


class HookProtocol(OneWriteProtocol):
    """Takes the short way where `Registry.plain` names the source; the rest is uvicorn's."""

    _source: CompiledSource | None = None  # of the request whose body is being read
    _slow_body: asyncio.TimerHandle | None = None
    _slow_head: asyncio.TimerHandle | None = None
    _is_unwanted = False  # the head asks for a protocol that is not spoken here
    _head_bytes = -1  # of the head that is being read, without its first piece; -1: none is
    _idle_since = -1.0  # the loop's time of the last answer of the short way; -1: something came
    _idle_check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._slow_head = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse_slow_head)
        self._exchange = Exchange()
        # Put there by the application's lifespan; absent where it serves something else.
        self._ingest: Ingest | None = self.app_state.get("ingest")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_body()
        self._stop_waiting_for_head()
        if self._idle_check is not None:
            self._idle_check.cancel()
            self._idle_check = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES:
                self._close_with(431, b"The head of the request is too large.")
                return
        self._data = data
        self._idle_since = -1.0
        super().data_received(data)
        if self._source is not None and self._slow_body is None:
            self._slow_body = self.loop.call_later(BODY_TIMEOUT_S, self._refuse_slow_body)
        if self._head_bytes >= 0:
            if self._slow_head is None:
                self._slow_head = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse_slow_head)
        elif self._slow_head is not None:
            self._stop_waiting_for_head()

    # --- What the parser says, in this order ---------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._head_bytes = -1
        if self.parser.should_upgrade() and not self._should_upgrade():
            self._is_unwanted = True
            return
        path = self.url.partition(b"?")[0]
        source = self._ingest.registry.plain.get(path) if self._ingest is not None else None
        if source is not None and self._is_plain(source):
            self._source = source
            self._body: list[bytes] = []
            exchange = self._exchange
            exchange.response_complete = False
            parser = self.parser
            exchange.keep_alive = parser.should_keep_alive() and parser.get_http_version() != "1.0"
            self.cycle = exchange  # type: ignore[assignment]
            return
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            # The scope keeps the list that it was given: a trailer after the body is no header.
            self.headers = []

    def _is_plain(self, source: CompiledSource) -> bool:
        if self.parser.get_method() != b"POST":
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # sent before the last answer: uvicorn keeps their order
        if self.flow.write_paused:
            return False  # who reads no answers must wait: uvicorn knows how
        headers = self._headers = dict(self.headers)
        length = headers.get(b"content-length")
        return (
            length is not None
            and length.isdigit()
            and int(length) <= source.max_body_bytes
            and len(headers) == len(self.headers)
            and headers.keys().isdisjoint(SPECIAL)
        )

    def on_body(self, body: bytes) -> None:
        if self._source is not None:
            self._body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_unwanted:
            return
        source, ingest = self._source, self._ingest
        if source is None or ingest is None:
            super().on_message_complete()
            return
        self._source = None
        self._stop_waiting_for_body()
        pieces = self._body
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        request = Request("POST", ingest.get_url(self.url), self._headers, body, time.time())
        request.client = self.client
        try:
            event_id, stored = ingest.submit(source, request)
        except REFUSED as error:
            self._answer(ingest.refuse(source.slug, error))
            return
        stored.add_done_callback(lambda stored: self._finish(ingest, source, event_id, stored))

    # --- The answer ----------------------------------------------------------------------------

    def _finish(
        self, ingest: Ingest, source: CompiledSource, event_id: bytes, stored: Stored
    ) -> None:
        try:
            answer = source.settle(event_id, stored.result())
        except REFUSED as error:
            answer = ingest.refuse(source.slug, error)
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        exchange = self._exchange
        exchange.response_complete = True
        transport = self.transport
        if transport.is_closing():
            return
        status, headers, body = answer
        head = _get_head(status, headers, self.server_state.default_headers)
        end = b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n"
        cast(OneWriteTransport, transport).write_whole(head + end + body)
        if not exchange.keep_alive:
            transport.close()
        if self.pipeline or not exchange.keep_alive or self.flow.read_paused:
            self.on_response_complete()
            return
        # As uvicorn's, but without its timer for each request, which is 1 µs.
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if self._idle_check is None:
            self._idle_check = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """Close a connection on which nothing has come since an answer of the short way."""
        self._idle_check = None
        if self._idle_since < 0 or self.transport.is_closing():
            return
        rest_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest_s > 0:
            self._idle_check = self.loop.call_later(rest_s, self._close_if_idle)
        else:
            self.timeout_keep_alive_handler()

    def _refuse_slow_body(self) -> None:
        source, self._source, self._slow_body = self._source, None, None
        if source is not None and self._ingest is not None:
            self._exchange.keep_alive = False  # the rest of the body is no request
            self._answer(self._ingest.refuse(source.slug, too_slow()))

    def _unsupported_upgrade_warning(self) -> None:
        """Read the request as if it had not asked: the parser stops behind such a head."""
        error = sys.exception()
        rest = self._data[error.args[0] :] if error is not None else b""
        lines = [b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)]
        lines += [b"%b: %b\r\n" % each for each in self.headers if each[0] not in UPGRADING]
        if not self.parser.should_keep_alive():
            lines.append(b"connection: close\r\n")
        self._is_unwanted = False
        self.parser = HttpRequestParser(self)
        super().data_received(b"%b\r\n%b" % (b"".join(lines), rest))

    # --- What is no request ----------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()
        if not isinstance(error, HttpParserCallbackError):
            super().send_400_response(msg)
            return
        # The short way runs inside the parser, which calls a bug of ours the sender's fault.
        self.logger.error("Exception in ingest", exc_info=error.__context__)
        self._exchange.response_complete = True
        self._close_with(500, b"Internal Server Error")

    def _refuse_slow_head(self) -> None:
        self._slow_head = None
        if self._head_bytes < 0:
            self.transport.close()  # it has said nothing
        else:
            self._close_with(408, b"The head of the request must arrive sooner.")

    def _close_with(self, status: int, why: bytes) -> None:
        """Close, with an answer unless an earlier request still waits for its own."""
        self._head_bytes = -1
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(STATUS_LINE[status] + CLOSING % len(why) + why)
            self.transport.close()

    def _stop_waiting_for_head(self) -> None:
        if self._slow_head is not None:
            self._slow_head.cancel()
            self._slow_head = None

    def _stop_waiting_for_body(self) -> None:
        if self._slow_body is not None:
            self._slow_body.cancel()
            self._slow_body = None


class _Heads:
    """Heads of answers without their end: made once a second, when uvicorn's date changes."""

    def __init__(self) -> None:
        self._default: DefaultHeaders = []
        self._made: dict[tuple[int, int], tuple[DefaultHeaders, bytes]] = {}

    def get(self, status: int, headers: DefaultHeaders, default: DefaultHeaders) -> bytes:
        """Status line, uvicorn's headers of every answer, and these."""
        if default is not self._default:  # uvicorn makes a new list
            self._default = default
            self._made.clear()
        key = status, id(headers)
        made = self._made.get(key)
        if made is None:
            lines = b"".join(b"%b: %b\r\n" % pair for pair in (*default, *headers))
            made = headers, STATUS_LINE[status] + lines
            if len(self._made) < HEADS_MAX:  # a refusal's headers are made for it alone
                # The list is kept beside its head: its id is nobody else's meanwhile.
                self._made[key] = made
        return made[1]


_get_head = _Heads().get
