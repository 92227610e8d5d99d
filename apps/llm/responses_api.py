"""Background responses over HTTP: begin one, look at it by its id, cancel it. One request each.

Beginning may be paid for and is as careful as a chat completion. Looking is free, and tells of an
answer or of nothing: whatever goes wrong with it is no news of the call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from django.conf import settings

from apps.llm import responses_format
from apps.llm.limit_headers import read_limit_headers
from apps.llm.provider import (
    Endpoint,
    LLMError,
    OutcomeUnknown,
    ProviderRefused,
    get_client,
    read_body,
    sending,
)
from apps.llm.responses_format import Progress
from workers.contracts import Verdict

LOOK_TIMEOUT_S = 15.0  # an answer may be megabytes
CANCEL_TIMEOUT_S = 8.0
NO_SUCH_API = (404, 405, 501)


class StillAtWork(LLMError):
    """The provider is at work in the background: come back and ask by the id. Uses no attempt."""

    code = "llm_in_background"
    verdict = Verdict.WAIT
    message = "The provider is at work on it in the background."


class NotLookedAt(StillAtWork):
    """It could not be asked how far the response is: nothing is known, and nothing lost."""

    code = "llm_in_background_unseen"
    message = "The provider works in the background, and did not say how far it is."


class ResponseMissing(NotLookedAt):
    """The provider does not know the id at the moment, which proves nothing yet."""

    code = "llm_response_missing"
    message = (
        "The provider does not know the response's id at the moment. It is asked again for five "
        "minutes before that counts."
    )


class ResponseGone(OutcomeUnknown):
    """The provider knows no response of this id: it expired, or belongs to another key."""

    code = "llm_response_gone"
    message = (
        "The provider has no response of that id any more: it may have been paid. "
        "A retry asks the model again."
    )


def begin(
    endpoint: Endpoint, body: dict[str, Any], mark: dict[str, str], send_before: float
) -> Progress:
    """Hand the request over. Raises `LLMError`; see `provider.complete` for `send_before`."""
    fields = responses_format.build(body, mark)
    responses = get_client(endpoint).responses.with_streaming_response
    try:
        with sending(send_before):
            return _read(responses.create(**fields), settings.LLM_TIMEOUT_S)
    except ProviderRefused as error:
        if error.http_status not in NO_SUCH_API:
            raise
        raise ProviderRefused(
            f"{error} It may not know background responses (LLM_BACKGROUND): switch them off.",
            http_status=error.http_status,
        ) from None


def look(endpoint: Endpoint, response_id: str) -> Progress:
    """How far it is; free. Raises ResponseGone, and NotLookedAt where the provider can't say."""
    responses = get_client(endpoint).responses.with_streaming_response
    with _asking():
        asked = responses.retrieve(response_id, timeout=LOOK_TIMEOUT_S)
        return _read(asked, LOOK_TIMEOUT_S, response_id)


def cancel(endpoint: Endpoint, response_id: str) -> Progress:
    """Ask the provider to stop; how far it was. Twice does no harm. Raises as `look` does.

    Also NotLookedAt where a server refuses to stop what has ended: the next look tells.
    """
    responses = get_client(endpoint).responses.with_streaming_response
    with _asking():
        asked = responses.cancel(response_id, timeout=CANCEL_TIMEOUT_S)
        return _read(asked, CANCEL_TIMEOUT_S, response_id)


@contextmanager
def _asking() -> Iterator[None]:
    try:
        with sending():
            yield
    except LLMError as error:
        if error.http_status == 404:
            raise ResponseGone(http_status=404) from None
        raise NotLookedAt(
            retry_after_s=error.retry_after_s, http_status=error.http_status
        ) from None


def _read(sent: AbstractContextManager[Any], timeout_s: float, response_id: str = "") -> Progress:
    deadline = time.monotonic() + timeout_s
    with sent as response:
        request_id = response.headers.get("x-request-id", "")[:120]
        seen = read_limit_headers(response.headers)
        raw = read_body(response, deadline)
    return replace(responses_format.read(raw, request_id, response_id), seen=seen)
