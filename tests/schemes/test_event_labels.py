"""The event's id and type are found in a header or the body, and are fit to be stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.sources.schemes import SCHEMES, build_verifier, is_json, read_body, sign
from apps.sources.schemes.labels import MAX_ID_CHARS, MAX_TYPE_CHARS, Labels
from apps.sources.schemes.options import Options
from apps.sources.schemes.providers import PROVIDERS
from tests.schemes.requests import NOW, URL, request_with

CUSTOM: dict[str, object] = {"event_id_path": "id", "event_type_path": "kind"}


def labels(body: bytes, options: dict[str, object] | None = None, **headers: str) -> Any:
    options = CUSTOM if options is None else options
    signed = sign("hmac", options, "secret", body, NOW, "", "")
    signed |= {name.replace("_", "-"): value for name, value in headers.items()}
    verified = build_verifier("hmac", options, ["secret"]).verify(request_with(signed, body))
    return verified.event_id, verified.event_type


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"id": "e1", "kind": "paid"}', ("e1", "paid")),
        (b'{"id": 0, "kind": "paid"}', ("0", "paid")),
        (b'{"id": 12345678901234567890}', ("12345678901234567890", "")),
        (b'{"id": "", "kind": null}', (None, "")),
        (b'{"id": true, "kind": ["a"]}', (None, "")),
        (b'{"id": 1.5, "kind": {}}', (None, "")),
        (b'{"id": "a\\u0000b", "kind": "a\\nb"}', (None, "")),
        (b'{"id": "\\ud800"}', (None, "")),
        (b"[1]", (None, "")),
        (b"not json", (None, "")),
        (b"[" * 100_000, (None, "")),
        (b"", (None, "")),
        (b"\xff\xfe", (None, "")),
    ],
)
def test_only_what_can_be_stored_is_a_label(body: bytes, found: tuple[str | None, str]) -> None:
    assert labels(body) == found


def test_a_header_comes_before_the_body() -> None:
    options = CUSTOM | {"event_id_header": "X-Id, X-Other-Id", "event_type_header": "X-Kind"}
    body = b'{"id": "e1", "kind": "paid"}'
    assert labels(body, options, X_Other_Id="h1") == ("h1", "paid")
    assert labels(body, options, X_Kind="sold") == ("e1", "sold")


def test_an_id_that_is_too_long_is_none_and_a_type_is_cut() -> None:
    body = json.dumps({"id": "i" * (MAX_ID_CHARS + 1), "kind": "k" * (MAX_TYPE_CHARS + 1)})
    assert labels(body.encode()) == (None, "k" * MAX_TYPE_CHARS)


def test_a_jmespath_may_compose_a_label() -> None:
    options: dict[str, object] = {
        "event_id_path": "join('-', [a.id, to_string(n)])",
        "event_type_path": "sum(a)",
    }
    assert labels(b'{"a": {"id": "x"}, "n": 3}', options) == ("x-3", "")


def test_a_body_is_parsed_once_and_known_to_be_json_or_not() -> None:
    request = request_with({}, b'{"a": 1}')
    assert read_body(request) is read_body(request)
    assert is_json(request)
    assert not is_json(request_with({}, b"{"))
    assert is_json(request_with({}, b"null"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert not is_json(request_with(form, b"a=1"))


# The corpus: real payloads, whose type is known by the provider's own documentation.
SAME_SCHEME = {"whatsapp": "meta-whatsapp"}


def corpus(folder: Path) -> list[dict[str, Any]]:
    items = json.loads((folder / "webhooks" / "corpus" / "index.json").read_text("utf-8"))
    return [item for item in items if scheme_of(item) in SCHEMES and is_typed(item)]


def scheme_of(item: dict[str, Any]) -> str:
    provider: str = item["provider"]
    return SAME_SCHEME.get(provider, provider)


def is_typed(item: dict[str, Any]) -> bool:
    """Where the type is told by a header or the body, not by a file's name."""
    is_named = item["event_type"] == item["provider"]
    return str(item["event_type_from"]).startswith(("header", "body", "form")) and not is_named


@pytest.mark.shared_data
def test_the_corpus_goes_in_with_the_right_event_type(shared_data: Path) -> None:
    wrong = []
    for item in corpus(shared_data):
        found = event_type(shared_data, item)
        if found != item["event_type"]:
            wrong.append((item["file"], item["event_type"], found))
    assert wrong == []


def event_type(folder: Path, item: dict[str, Any]) -> str:
    """Signed as its provider would, where that can be done here; else only labelled."""
    slug, body = scheme_of(item), (folder / "webhooks" / "corpus" / item["file"]).read_bytes()
    options: dict[str, object] = {"tolerance_s": None} if slug == "linear" else {}
    own = {"Content-Type": item["content_type"], **item["headers"]}
    if not SCHEMES[slug].can_sign or PROVIDERS[slug].family.sign is None:
        labels = Labels(Options({f.name: f.read({}) for f in PROVIDERS[slug].fields}))
        return labels.verified(request_with(own, body), 0).event_type
    secret = "user:password"
    if slug in {"standard-webhooks", "openai", "clerk", "resend"}:
        secret = "whsec_c2VjcmV0"
    signed = sign(slug, options, secret, body, NOW, "msg_1", "", url=URL)
    verifier = build_verifier(slug, options, [secret])
    return verifier.verify(request_with(signed | own, body)).event_type
