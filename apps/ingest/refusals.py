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
    retry_after_s: ClassVar[float | None] = None
    headers: ClassVar[Headers] = []

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
    retry_after_s = 60.0


class SourceBroken(Refusal):
    status = 503
    code = "source_broken"
    retry_after_s = 60.0


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


class RepeatedHeader(Refusal):
    code = "repeated_header"


class NotJson(Refusal):
    code = "not_json"


def get_answer(error: Refusal | SignatureRefused | QueueError) -> Answer:
    """The problem document for the sender."""
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
