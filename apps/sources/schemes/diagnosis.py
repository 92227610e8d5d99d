"""Why a signature may be wrong, for the person who has to repair it. Not on the hot path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from apps.sources.schemes.base import UNREAD, Request, SignatureRefused, Verifier
from apps.sources.schemes.body import is_json, read_body


def explain(verifier: Verifier, request: Request, refused: SignatureRefused) -> str:
    """A plain sentence or two about `refused`, without secrets and payload.

    Costs some ten verifications: for a refused request that is kept, not for every one.
    """
    if refused.code != "bad_signature":
        return refused.detail
    for body, change in _other_spellings(request):
        if _is_right(verifier, replace(request, body=body, document=UNREAD)):
            return f"{refused.detail} It would match if {change}."
    return refused.detail


def _is_right(verifier: Verifier, request: Request) -> bool:
    try:
        verifier.verify(request)
    except SignatureRefused:
        return False
    return True


def _other_spellings(request: Request) -> Iterator[tuple[bytes, str]]:
    """(body, what would have to be so): what proxies and frameworks do to a body."""
    body = request.body
    yield body.rstrip(b"\r\n"), "the line break at the end were not there: something added it"
    for ending in (b"\n", b"\r\n"):
        yield body + ending, "the body still had its line break at the end"
    if is_json(request):
        document = read_body(request)
        for written in _json_spellings(document):
            yield written, "the JSON were written otherwise: something parsed and re-encoded it"


def _json_spellings(document: object) -> Iterator[bytes]:
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (False, True):
            text = json.dumps(document, separators=separators, ensure_ascii=ascii_only)
            written = text.encode("utf-8", "surrogatepass")
            yield written
            yield written.replace(b"/", b"\\/")
