"""A small event of our own in a provider's form, to try a source out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from apps.sources.schemes.form import CONTENT_TYPE
from apps.sources.schemes.options import Options
from apps.sources.schemes.timestamps import format_timestamp

_FIRST_PLAIN_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\s*\|\|.*)?")


class SampleEvent(NamedTuple):
    """What to send besides the headers of `sign`."""

    content_type: str
    body: bytes


def make_sample(
    options: Options, fields: Mapping[str, str], event_id: str, event_type: str, now: float
) -> SampleEvent:
    """`fields` with the id, the type and the time where this provider's body has them."""
    body: dict[str, Any] = dict(fields)
    _put(body, options.text("event_type_path"), event_type)
    _put(body, options.text("event_id_path"), event_id)
    if path := options.get("timestamp_path"):
        _put(body, path, int(format_timestamp(now, options.text("timestamp_unit"))))
    if "{params}" in options.get("signed"):
        text = {name: value for name, value in body.items() if isinstance(value, str)}
        return SampleEvent(CONTENT_TYPE.decode("ascii"), urlencode(text).encode("ascii"))
    return SampleEvent("application/json", json.dumps(body).encode("utf-8"))


def _put(body: dict[str, Any], path: str, value: str | int) -> None:
    """Only where `path` is plain names: what a larger expression wants, nobody can tell."""
    match = _FIRST_PLAIN_PATH.fullmatch(path)
    if match is None:
        return
    *parents, last = match[1].split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = value
