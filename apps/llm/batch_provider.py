"""The provider's batch interface: files and batches. Each function sends exactly one request.

Only creating a batch costs money. What an error says about it is as for a call: a status is a
refusal, a connection that never came up is none, everything else is unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from apps.llm.provider import (
    Endpoint,
    OutcomeUnknown,
    ProviderFailed,
    count,
    get_client,
    read_body,
    sending,
)

TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 120.0  # of one write, not of all
FILE_TIMEOUT_S = 120.0
MARK = "pipeline_batch"
PAGE = 100
ENDPOINT: Final = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


class FileChanged(ProviderFailed):
    """It is read from its beginning then: each line settles its call once, however often."""

    code = "llm_batch_file_changed"
    message = "The provider's file is not the one that was read before: it is read again."


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the provider tells of it. `mark` is the id of ours, `created_at` Unix seconds,
    `completed` how many of its calls the provider says it has answered."""

    id: str
    status: str
    mark: str = ""
    output_file_id: str = ""
    error_file_id: str = ""
    error_code: str = ""
    created_at: float = 0.0
    completed: int = 0

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def upload(endpoint: Endpoint, lines: bytes) -> str:
    """The file's id. Costs nothing, also when it is done twice. Raises `LLMError`."""
    files = get_client(endpoint).files
    deadline = time.monotonic() + UPLOAD_TIMEOUT_S + TIMEOUT_S
    with (
        sending(),
        files.with_streaming_response.create(
            file=("batch.jsonl", lines, "application/jsonl"),
            purpose="batch",
            timeout=UPLOAD_TIMEOUT_S,
        ) as response,
    ):
        document = _read(response, deadline)
    return _read_text(document, "id") or _fail()


def create(endpoint: Endpoint, file_id: str, mark: str, send_before: float) -> RemoteBatch:
    """From here on it is paid for. From the Unix time `send_before` on it is not sent any more.

    Raises `LLMError`; after `OutcomeUnknown` it may exist, and is found by its mark.
    """
    batches = get_client(endpoint).batches
    deadline = time.monotonic() + TIMEOUT_S
    with (
        sending(send_before),
        batches.with_streaming_response.create(
            completion_window="24h",
            endpoint=ENDPOINT,
            input_file_id=file_id,
            metadata={MARK: mark},
            timeout=TIMEOUT_S,
        ) as response,
    ):
        found = _read_batch(_read(response, deadline))
    if found is None:
        raise OutcomeUnknown
    return found


def retrieve(endpoint: Endpoint, batch_id: str) -> RemoteBatch:
    """How it stands. Raises `LLMError`."""
    batches = get_client(endpoint).batches
    with (
        sending(),
        batches.with_streaming_response.retrieve(batch_id, timeout=TIMEOUT_S) as response,
    ):
        return _read_batch(_read(response)) or _fail()


def cancel(endpoint: Endpoint, batch_id: str) -> RemoteBatch:
    """Ask it to stop; what it has done is paid and kept. Raises `LLMError`."""
    batches = get_client(endpoint).batches
    with (
        sending(),
        batches.with_streaming_response.cancel(batch_id, timeout=TIMEOUT_S) as response,
    ):
        return _read_batch(_read(response)) or _fail()


def list_page(endpoint: Endpoint, after: str = "") -> tuple[list[RemoteBatch], bool]:
    """The newest, or those before `after`; and whether there are more. Raises `LLMError`."""
    batches = get_client(endpoint).batches
    asked: dict[str, Any] = {"after": after} if after else {}
    with (
        sending(),
        batches.with_streaming_response.list(limit=PAGE, timeout=TIMEOUT_S, **asked) as response,
    ):
        document = _read(response)
    rows = document.get("data")
    if not isinstance(rows, list):
        _fail()
    found = [batch for row in rows if (batch := _read_batch(row))]
    return found, bool(document.get("has_more")) and bool(found)


@contextmanager
def reading(endpoint: Endpoint, file_id: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
    """A file, piece by piece, from behind a line that ends at `offset`. Raises `LLMError`, also
    inside; FileChanged where no line ends there.

    A provider that knows no ranges sends all of it, and what was read before is dropped unread.
    """
    files = get_client(endpoint).files
    # From the end of that line: a range that begins behind the last byte would be refused.
    headers = {"Range": f"bytes={offset - 1}-"} if offset else {}
    with (
        sending(),
        files.with_streaming_response.content(
            file_id, timeout=TIMEOUT_S, extra_headers=headers | {"Accept-Encoding": "identity"}
        ) as response,
    ):
        chunks = _within(FILE_TIMEOUT_S, response.iter_bytes())
        before = 1 if response.status_code == 206 else offset
        yield _skip(chunks, before) if offset else chunks


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Without the first `count` bytes, which end a line."""
    for chunk in chunks:
        if count and len(chunk) >= count:
            if chunk[count - 1 : count] != b"\n":
                raise FileChanged
            chunk, count = chunk[count:], 0
        if count:
            count -= len(chunk)
        elif chunk:
            yield chunk
    if count:
        raise FileChanged


def delete(endpoint: Endpoint, file_id: str) -> None:
    """Prompts and answers need not lie there for a month. Raises `LLMError`."""
    files = get_client(endpoint).files
    with sending(), files.with_streaming_response.delete(file_id, timeout=TIMEOUT_S) as response:
        _read(response)


def _within(seconds: float, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A file that drips is given up: what was read of it stays settled."""
    deadline = time.monotonic() + seconds
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise ProviderFailed("The provider sends its results too slowly.")
        yield chunk


def _read(response: Any, deadline: float | None = None) -> dict[str, Any]:
    raw = read_body(response, deadline or time.monotonic() + TIMEOUT_S)
    try:
        document = json.loads(raw or b"")
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _read_batch(document: Any) -> RemoteBatch | None:
    """None where it is none."""
    if not isinstance(document, dict):
        return None
    batch_id, status = _read_text(document, "id"), _read_text(document, "status")
    if not batch_id or not status:
        return None
    metadata = document.get("metadata")
    created_at, counts = document.get("created_at"), document.get("request_counts")
    return RemoteBatch(
        id=batch_id,
        status=status[:20],
        mark=_read_text(metadata, MARK) if isinstance(metadata, dict) else "",
        output_file_id=_read_text(document, "output_file_id"),
        error_file_id=_read_text(document, "error_file_id"),
        error_code=_read_error_code(document.get("errors")),
        created_at=float(created_at) if isinstance(created_at, int | float) else 0.0,
        completed=count(counts, "completed") if isinstance(counts, dict) else 0,
    )


def _read_error_code(errors: Any) -> str:
    """The first error's machine word: its text may quote a prompt."""
    rows = errors.get("data") if isinstance(errors, dict) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    code = _read_text(first, "code") if isinstance(first, dict) else ""
    return code if code.isidentifier() and code.isascii() else ""


def _read_text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) and len(value) <= 120 and value.isprintable() else ""


def _fail() -> NoReturn:
    raise ProviderFailed("The provider's answer about its batches can't be read.")
