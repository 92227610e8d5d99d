"""A body as a person can read it. Always text, never HTML: templates escape it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

SHOWN_CHARS = 100_000
EXCERPT_CHARACTERS = 2000
EXCERPT_BYTES = 4 * EXCERPT_CHARACTERS


@dataclass(frozen=True)
class Payload:
    """`pretty` is indented JSON, empty where the body is none; `raw` the bytes as text."""

    pretty: str
    raw: str
    is_cut: bool
    content_type: str


def get_digest(raw: bytes) -> str:
    """The SHA-256 of a body, in 64 hex digits: two bodies are the same where these are."""
    return hashlib.sha256(raw).hexdigest()


def read_excerpt(raw: bytes) -> str:
    """The beginning of a body, for lists and the search."""
    text = raw[:EXCERPT_BYTES].decode("utf-8", "replace")[:EXCERPT_CHARACTERS]
    return text.replace("\x00", "\ufffd")  # PostgreSQL has no text with NUL


def read_payload(raw: bytes, content_type: str) -> Payload:
    """Both ways to show a body, cut to SHOWN_CHARS."""
    text = raw.decode("utf-8", "replace")
    pretty = pretty_json(text)
    is_cut = max(len(text), len(pretty)) > SHOWN_CHARS
    return Payload(pretty[:SHOWN_CHARS], text[:SHOWN_CHARS], is_cut, content_type)


def pretty_json(value: Any) -> str:
    """Indented JSON of a value, or of a text that is JSON; '' for any other text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Half a character is JSON, and no text that a page can hold: it stays the escape that it was.
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Prompt:
    """One request to the model: what it was told, in order, and the other parameters."""

    messages: list[tuple[str, str]]
    parameters: str


def read_prompt(request: Any) -> Prompt:
    """The messages and the rest of a stored chat-completions request."""
    if not isinstance(request, dict):
        return Prompt([], pretty_json(request))
    given = request.get("messages")
    messages = [_read_message(one) for one in given] if isinstance(given, list) else []
    rest = {name: value for name, value in request.items() if name != "messages"}
    return Prompt(messages, pretty_json(rest) if rest else "")


def _read_message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        return "message", str(message)
    content = message.get("content")
    return str(message.get("role", "message")), (
        content if isinstance(content, str) else pretty_json(content)
    )
