"""E-mail addresses in free text, also as `name (at) example (dot) com` and `name%40example.com`."""

from __future__ import annotations

from collections.abc import Iterator

from apps.pipelines.redaction.kinds import EMAIL
from apps.pipelines.redaction.patterns import compile_ours
from apps.pipelines.redaction.spans import Span, Text

_LOCAL = r"[\p{L}\p{N}_](?:[\p{L}\p{N}\p{M}._%+'’&=/-]*[\p{L}\p{N}\p{M}_+-])?"
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}-]*[\p{L}\p{N}\p{M}])?"
_TOP = r"(?:xn--[a-z0-9-]+|\p{L}[\p{L}\p{M}]+)"
_PLAIN = compile_ours(rf"({_LOCAL}|\"[^\"\s@][^\"\n@]*\")(?:@|%40|＠)((?:{_LABEL}\.)+{_TOP})")
_PARAMETER = compile_ours(r"^.*[=/&][^\p{L}\p{N}]*")
_AT = r"(?:\s?[\[({]\s?at\s?[\])}]\s?|\s(?-i:AT)\s)"
_DOT = r"(?:\.|\s?[\[({]\s?(?:dot|punkt)\s?[\])}]\s?|\s(?-i:DOT)\s)"
_SPELT = compile_ours(rf"{_LOCAL}{_AT}(?:{_LABEL}{_DOT})+{_TOP}")
# logo@2x.png: a picture for a sharp screen.
_PICTURE = compile_ours(r"^[1-9]x\.(?:png|jpe?g|webp|gif|svg|avif)$")


def find_email_addresses(text: Text) -> Iterator[Span]:
    """Whatever looks like an address; whether it exists is nobody's business here."""
    if "@" in text.text or "%40" in text.text or "＠" in text.text:
        for match in _PLAIN.finditer(text.text):
            local = match.group(1)
            if _PICTURE.search(match.group(2)) or _is_repository(
                local, text.text[match.end() : match.end() + 1]
            ):
                continue
            # What stands before an `=` or `/` in front of it names a parameter, not the mailbox.
            mailbox = _PARAMETER.sub("", local) or local
            yield Span(match.end(1) - len(mailbox), match.end(), EMAIL)
    if "at" in text.text.lower():
        for match in _SPELT.finditer(text.text):
            yield Span(match.start(), match.end(), EMAIL)


def _is_repository(local: str, after: str) -> bool:
    """git@github.com:owner/name.git and ssh://git@host/name: nobody reads mail there."""
    return local.rpartition("/")[2] == "git" and after in (":", "/")
