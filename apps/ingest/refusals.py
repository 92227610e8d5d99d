"""Why a request is not taken in, and the answer to each: no text holds payload or secret."""

from __future__ import annotations

from math import ceil
from typing import ClassVar

from apps.ingest.answers import Answer, Headers, problem
from apps.sources.schemes import SignatureRefused
from apps.streams.errors import QueueError


class Refusal(Exception):
    """A request that is not taken in; `detail` tells its sender what to do."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    retry_after_s: float | None = None
    headers: ClassVar[Headers] = []
    # Whether the request is kept: the same one may be good after a repair on our side.
    is_kept: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class WrongMethod(Refusal):
    status = 405
    code = "wrong_method"
    headers = [(b"allow", b"POST")]


class UnknownSource(Refusal):
    status = 404
    code = "unknown_source"


class NotReady(Refusal):
    status = 503
    code = "not_ready"
    retry_after_s = 2.0


class SourcePaused(Refusal):
    """503, not 409: senders try a 5xx again, so that what they send in a pause is only late."""

    status = 503
    code = "source_paused"
    retry_after_s: float | None = 60.0


class SourceGone(SourcePaused):
    """Most senders stop for good, and some forget the address."""

    status = 410
    code = "source_gone"
    retry_after_s = None


class SourceClosed(SourcePaused):
    status = 403
    code = "source_closed"
    retry_after_s = None


def get_pause(status: int, text: str) -> SourcePaused:
    """The answer of a paused source: one of 503, 410 and 403, with its own text or the usual."""
    if status == 410:
        return SourceGone(text or "This source takes no events any more.")
    if status == 403:
        return SourceClosed(text or "This source takes no events now.")
    return SourcePaused(text or "This source is paused. Send the event again when it goes on.")


class AddressNotAllowed(Refusal):
    status = 403
    code = "address_not_allowed"


class TooManyRequests(Refusal):
    """`retry_after_s` is when the next request would pass if nobody else sends one before."""

    status = 429
    code = "too_many_requests"

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            f"This source takes no more requests now. Wait {ceil(retry_after_s)} s, then go on."
        )
        self.retry_after_s = retry_after_s


class SourceBroken(Refusal):
    status = 503
    code = "source_broken"
    retry_after_s = 60.0


class NotConfirmed(Refusal):
    status = 503
    code = "not_confirmed"
    retry_after_s = 5.0


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"


class BodyTooSlow(Refusal):
    status = 408
    code = "body_too_slow"


class EncodedBody(Refusal):
    status = 415
    code = "encoded_body"


class WrongContentType(Refusal):
    status = 415
    code = "wrong_content_type"
    is_kept = True


class RepeatedHeader(Refusal):
    code = "repeated_header"


class NotJson(Refusal):
    code = "not_json"
    is_kept = True


class TooDeep(Refusal):
    code = "json_too_deep"
    is_kept = True


class TooManyNames(Refusal):
    code = "json_too_many_names"
    is_kept = True


class RepeatedName(Refusal):
    code = "json_repeated_name"
    is_kept = True


class OffSchema(Refusal):
    status = 422
    code = "off_schema"
    is_kept = True


class EventIgnored(Refusal):
    """No fault of the sender's: the source does not want such an event, and nothing is stored."""

    status = 200
    code = "event_ignored"

    def __init__(self, detail: str, answer: Answer) -> None:
        super().__init__(detail)
        self.answer = answer


def get_answer(error: Refusal | SignatureRefused | QueueError) -> Answer:
    """The problem document for the sender."""
    if isinstance(error, EventIgnored):
        return error.answer
    headers = list(getattr(error, "headers", []))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(ceil(error.retry_after_s)).encode()))
    detail = str(error)
    if isinstance(error, QueueError):
        detail = "The queue can't keep the event safely now. Send it again: a repeat is recognised."
    return problem(_status(error), error.code, detail, headers)


def _status(error: Refusal | SignatureRefused | QueueError) -> int:
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, QueueError) or error.retry_after_s is not None:
        return 503
    return 403 if error.code == "challenge_refused" else 401
