"""The payload of an event: what filter, transform and prompt see of the received bytes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from apps.sources.schemes.multipart import CONTENT_TYPE, get_json_field
from workers.contracts import Verdict

MULTIPART = CONTENT_TYPE.decode("ascii")
MAX_FORM_FIELDS = 1000


class PrepareError(Exception):
    """The event can't become a request, now or later. `str()` is a sentence without payload."""

    code = "prepare_failed"
    permanent = True
    retry_after_s: float | None = None
    http_status: int | None = None
    verdict = Verdict.NEVER


class PayloadNotJson(PrepareError):
    code = "payload_not_json"


class PayloadTooDeep(PrepareError):
    code = "payload_too_deep"


def read_payload(raw: bytes, content_type: str) -> Any:
    """JSON as it is; a form as a dict; anything else as `{"text": …}`.

    A form whose only field is `payload` holding JSON (Slack's buttons) gives that JSON, one with
    multipart/form-data the JSON in its field `json` (Dropbox Sign). Raises `PayloadNotJson` or
    `PayloadTooDeep`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _read_form(raw)
    field = get_json_field(content_type.encode(), raw) if kind == MULTIPART else None
    if field is not None:
        return _read_json(field)
    if kind.endswith(("/json", "+json")):
        return _read_json(raw)
    try:
        return _read_json(raw)
    except PayloadNotJson:
        return {"text": raw.decode("utf-8", "replace")}


def _read_json(raw: bytes | str) -> Any:
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise PayloadTooDeep("The payload is nested too deeply.") from None
    except ValueError:
        raise PayloadNotJson("The payload is not JSON, though its type says so.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity: not JSON, and no database stores them


def _read_form(raw: bytes) -> Any:
    try:
        pairs = parse_qsl(
            raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS
        )
    except ValueError:
        raise PayloadNotJson(f"The form has more than {MAX_FORM_FIELDS} fields.") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = [*_as_list(fields[name]), value] if name in fields else value
    if list(fields) == ["payload"] and isinstance(fields["payload"], str):
        return _read_json(fields["payload"])
    return fields


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
