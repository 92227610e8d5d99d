"""The event's id and type: from a header, or by JMESPath from the body."""

from __future__ import annotations

from typing import Any

from apps.sources.schemes.base import Request, Verified
from apps.sources.schemes.body import Search, compile_path, get_names, read_body, skim
from apps.sources.schemes.options import OptionField, Options, first_value
from apps.sources.schemes.skim import Skim

MAX_ID_CHARS = 255
MAX_TYPE_CHARS = 200

LABEL_FIELDS = (
    OptionField("event_type_header", "Event type: header"),
    OptionField("event_type_path", "Event type: JMESPath", help="Used where the header is absent."),
    OptionField("event_id_header", "Event id: header"),
    OptionField(
        "event_id_path",
        "Event id: JMESPath",
        help="The id makes a repeated delivery a duplicate. Without one, the body's hash does.",
    ),
)


class Labels:
    """Finds what an event is, after its signature was found right."""

    __slots__ = ("_id_headers", "_id_search", "_skim", "_type_headers", "_type_search")

    def __init__(self, options: Options) -> None:
        self._type_headers = options.headers("event_type_header")
        self._id_headers = options.headers("event_id_header")
        self._type_search = _search(options, "event_type_path")
        self._id_search = _search(options, "event_id_path")
        self._skim = _make_skim(options)

    def verified(self, request: Request, secret_index: int) -> Verified:
        """The body is parsed only where no header has told it, and at most once."""
        headers = request.headers
        event_id = _header_text(first_value(headers, self._id_headers))
        event_type = _header_text(first_value(headers, self._type_headers))
        by_id = self._id_search if event_id is None else None
        by_type = self._type_search if event_type is None else None
        if by_id or by_type:
            document: Any = skim(request, self._skim) if self._skim else None
            if document is None:
                document = read_body(request)
            if by_id:
                event_id = _text(by_id(document))
            if by_type:
                event_type = _text(by_type(document))
        if event_id is not None and len(event_id) > MAX_ID_CHARS:
            event_id = None  # cutting it could make two events one
        return Verified(secret_index, event_id, (event_type or "")[:MAX_TYPE_CHARS])


def _search(options: Options, name: str) -> Search | None:
    path = options.text(name)
    return compile_path(name, path) if path else None


def _make_skim(options: Options) -> Skim | None:
    """None where a path goes deeper than the body's top."""
    paths = [path for name in ("event_type_path", "event_id_path") if (path := options.text(name))]
    names: set[str] = set()
    for path in paths:
        found = get_names(path)
        if found is None:
            return None
        names.update(found)
    return Skim(sorted(names)) if names else None


def _header_text(value: bytes) -> str | None:
    return _text(value.decode("utf-8", "replace")) if value else None


def _text(value: Any) -> str | None:
    """Only what a database, a log line and a page can take: printable text or a whole number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else None
    return value if isinstance(value, str) and value and value.isprintable() else None
