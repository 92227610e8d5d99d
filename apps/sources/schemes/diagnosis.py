"""Why a signature may be wrong, for the person who has to repair it. Not on the hot path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from apps.sources.schemes.base import (
    UNREAD,
    Request,
    SignatureRefused,
    Verifier,
    WrongTime,
)
from apps.sources.schemes.body import is_json, read_body
from apps.sources.schemes.options import WrongOptions
from apps.sources.schemes.registry import SCHEMES, build_verifier, get_signature_headers

# Rewriting a larger body some ten times would take the processor from ingest.
REWRITTEN_MAX_BYTES = 131_072
_SIGNATURE_WORDS = (b"signature", b"hmac", b"sign", b"authorization", b"token", b"webhook-secret")


@dataclass(frozen=True, slots=True)
class Case:
    """What the source verifies with. `others` are secrets that are not active, each with the
    words that say which: "a secret that was retired on 3 November 2026".
    """

    scheme: str
    options: Mapping[str, object]
    secrets: Sequence[str] = field(repr=False)
    others: Sequence[tuple[str, str]] = field(default=(), repr=False)


def explain(
    verifier: Verifier, request: Request, refused: SignatureRefused, case: Case | None = None
) -> str:
    """A plain sentence or two about `refused`, without secrets and payload.

    Costs some ten verifications, with `case` some hundred: for a refused request that is kept,
    not for every one.
    """
    if refused.code in ("untrusted_certificate", "certificate_unavailable", "challenge_refused"):
        return refused.detail
    hints = _hints(verifier, request, refused, case)
    return " ".join([refused.detail, *([hint] if (hint := next(hints, "")) else [])])


def _hints(
    verifier: Verifier, request: Request, refused: SignatureRefused, case: Case | None
) -> Iterator[str]:
    """What is worth knowing, the likeliest first; only the first is ever looked for."""
    if isinstance(refused, WrongTime):
        yield from _without_its_age(verifier, request, refused)
    if case:
        yield from _other_secrets(request, case)
    if refused.code == "bad_signature" and len(request.body) <= REWRITTEN_MAX_BYTES:
        for body, change in _other_spellings(request):
            if _is_right(verifier, replace(request, body=body, document=UNREAD)):
                yield f"It would match if {change}."
    if case and refused.permanent and len(request.body) <= REWRITTEN_MAX_BYTES:
        yield from _other_options(request, case)
        yield from _other_schemes(request, case)
    if case and refused.code == "missing_signature":
        yield _similar_headers(request)


def _without_its_age(verifier: Verifier, request: Request, refused: WrongTime) -> Iterator[str]:
    if not refused.age_s:
        return
    then = replace(request, now=request.now - refused.age_s)
    age = _duration(abs(refused.age_s))
    if not _is_right(verifier, then):
        return
    if refused.age_s > 0:
        yield (
            f"Its signature is right: it was signed {age} before it arrived. It came late, or the "
            "sender's clock is slow."
        )
    else:
        yield f"Its signature is right: the sender's clock, or ours, is wrong by {age}."


def _other_secrets(request: Request, case: Case) -> Iterator[str]:
    for secret, which in case.others:
        if _matches(request, case.scheme, case.options, [secret]):
            yield f"It matches {which}."
    for change, words in (
        (_stripped, "without the spaces or line breaks around it"),
        (_unquoted, "without the quotation marks around it"),
    ):
        changed = [new for secret in case.secrets if (new := change(secret)) != secret]
        if changed and _matches(request, case.scheme, case.options, changed):
            yield f"It would match an active secret {words}: it was pasted with them."


def _stripped(secret: str) -> str:
    return secret.strip()


def _unquoted(secret: str) -> str:
    return secret.strip().strip("\"'")


def _other_options(request: Request, case: Case) -> Iterator[str]:
    """One option at a time: the encoding, the key's form, the algorithm."""
    info = SCHEMES.get(case.scheme)
    for option in info.fields if info else ():
        for value, label in option.choices:
            options = {**case.options, option.name: value}
            if _matches(request, case.scheme, options, case.secrets):
                yield f"It would match if the option “{option.label}” were “{label}”."


def _other_schemes(request: Request, case: Case) -> Iterator[str]:
    for slug, info in SCHEMES.items():
        headers = _signature_headers(slug)
        if headers and not any(name in request.headers for name in headers):
            continue  # building its verifier would cost more than all the rest
        differs = info.needs_secret and slug != case.scheme
        if differs and _matches(request, slug, {}, case.secrets):
            yield f"It would match with the scheme “{info.label}”."


@cache
def _signature_headers(slug: str) -> tuple[bytes, ...]:
    return get_signature_headers(slug)


def _similar_headers(request: Request) -> str:
    found = [
        name.decode("ascii", "replace")
        for name in request.headers
        if any(word in name for word in _SIGNATURE_WORDS)
    ]
    if not found:
        return "No header looks like a signature: it may not come from the provider at all."
    names = ", ".join(name[:60] for name in found[:3])
    return f"It carries {names} instead: is it the right scheme?"


def _matches(
    request: Request, scheme: str, options: Mapping[str, object], secrets: Sequence[str]
) -> bool:
    for secret in secrets:  # each by itself: one that can't be a key must not hide the others
        try:
            verifier = build_verifier(scheme, options, [secret])
        except WrongOptions:
            continue
        if _is_right(verifier, request):
            return True
    return False


def _is_right(verifier: Verifier, request: Request) -> bool:
    try:
        verifier.verify(request)
    except SignatureRefused:
        return False
    return True


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} s"


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


def _json_spellings(document: Any) -> Iterator[bytes]:
    for layout in ({"separators": (",", ":")}, {"separators": (", ", ": ")}, {"indent": 2}):
        for ascii_only in (False, True):
            text = json.dumps(document, ensure_ascii=ascii_only, **layout)
            written = text.encode("utf-8", "surrogatepass")
            yield written
            yield written.replace(b"/", b"\\/")
