"""Forms with multipart/form-data, of which one field holds JSON (Dropbox Sign)."""

from __future__ import annotations

import re

CONTENT_TYPE = b"multipart/form-data"
FIELD = b"json"
MAX_PARTS = 20

_BOUNDARY = re.compile(rb'boundary="?([^";,\s]{1,70})', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:[^\r\n]*;\s*name="([^"\r\n]*)"', re.I | re.M)


def is_multipart(content_type: bytes) -> bool:
    """Whether a body of this type is such a form."""
    return content_type[: len(CONTENT_TYPE)].lower() == CONTENT_TYPE


def get_json_field(content_type: bytes, body: bytes) -> bytes | None:
    """The field that holds the JSON; None where there is not exactly one.

    Not the standard library's parser: it follows forms inside forms, which cost it seconds.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return None
    found = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1], MAX_PARTS)[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name and name[1] == FIELD:
            found.append(content)
    return found[0] if len(found) == 1 else None
