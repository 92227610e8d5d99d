"""A small event of our own in a provider's form, to try a source out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from apps.sources.schemes.family import Family, Outgoing
from apps.sources.schemes.form import CONTENT_TYPE
from apps.sources.schemes.options import Options
from apps.sources.schemes.plain_paths import put
from apps.sources.schemes.timestamps import format_timestamp


class SampleRequest(NamedTuple):
    """All of a test event: send exactly this. The headers hold no secret but a token scheme's."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def make_body(
    family: Family, options: Options, fields: Mapping[str, str], event: Outgoing
) -> tuple[str, bytes]:
    """(content type, body): `fields` with the id, the type, the time and, where the provider
    signs inside the body, the signature.
    """
    body: Any = dict(fields)
    body = put(body, options.text("event_type_path"), event.event_type)
    body = put(body, options.text("event_id_path"), event.event_id)
    if path := options.get("timestamp_path"):
        body = put(body, path, _stamp(options, event.now))
    is_form = family.is_form or "{params}" in options.get("signed")
    if is_form:
        body = {name: value for name, value in body.items() if isinstance(value, str)}
    if family.fill:
        body = family.fill(options, event, body)
    if is_form:
        return CONTENT_TYPE.decode("ascii"), urlencode(body).encode("ascii")
    return "application/json", json.dumps(body).encode("utf-8")


def _stamp(options: Options, now: float) -> str | int:
    text = format_timestamp(now, options.text("timestamp_unit"))
    return int(text) if text.isdigit() else text
