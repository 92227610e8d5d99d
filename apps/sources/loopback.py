"""Posts a test event to this very server, at the port that it listens on.

Over HTTP, so that the whole of ingest is passed; not to PUBLIC_URL, which a server behind a proxy
or in a container often cannot reach from inside. The signed URL is the public one all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpcore

from apps.sources.models import Source
from apps.sources.sample_request import make_request
from apps.sources.schemes import SampleRequest, WrongOptions

TIMEOUT_S = 5.0  # ingest answers within 2 s
MAX_SHOWN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server answered; `status` is 0 where it could not be reached.

    `detail` is a plain sentence where it did not take the event, `event_id` is evt_… where it did.
    """

    status: int
    body: str
    detail: str = ""
    event_id: str = ""

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status < 300 and not self.detail


def send_test_event(source: Source, meta: Mapping[str, Any]) -> Outcome:
    """Sign a sample event as the source's provider would, and post it. `meta` is `request.META`."""
    try:
        sample = make_request(source)
    except WrongOptions as error:
        return Outcome(0, "", error.message)
    # The server's own socket, not the Host header, which a visitor may choose.
    return post(sample, meta["SERVER_NAME"], meta["SERVER_PORT"])


def post(request: SampleRequest, host: str, port: str) -> Outcome:
    """Send it to `host`:`port`, where the web server got the visitor's own request."""
    if not port.isdecimal() or port == "0":
        return Outcome(0, "", "The web server listens on no port, so it can't call itself.")
    target = urlsplit(request.url)._replace(scheme="", netloc="").geturl()  # path and query
    url = httpcore.URL(scheme="http", host=host, port=int(port), target=target)
    limits = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
    try:
        answer = httpcore.request(
            "POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in request.headers.items()],
            content=request.body,
            extensions={"timeout": limits},
        )
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        return Outcome(0, "", "The web server did not answer at its own port.")
    return _read(answer.status, answer.content.decode("utf-8", "replace"))


def _read(status: int, body: str) -> Outcome:
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    fields = document if isinstance(document, dict) else {}
    detail, event_id = str(fields.get("detail", "")), str(fields.get("id", ""))
    if fields.get("ignored"):
        detail = "Ignored: the source does not take events of this type."
    if status == HTTPStatus.FORBIDDEN:
        detail += " The test comes from this server itself."
    return Outcome(status, body[:MAX_SHOWN_CHARS], detail, event_id)
