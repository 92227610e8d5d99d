"""The recipes of CONTRIBUTING.md work as they stand there."""

from __future__ import annotations

import hashlib
import hmac
import re
import textwrap
import tomllib

import pytest

from apps.sources.schemes import Request, SignatureRefused, build_verifier, providers
from pipeline_admin.env import BASE_DIR

BODY = b'{"type": "order.paid"}'


@pytest.fixture
def _acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's example is in the table of providers."""
    text = (BASE_DIR / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert example
    row = tomllib.loads(textwrap.dedent(example[1]))["acme"]
    table = {**providers.PROVIDERS, "acme": providers._provider("acme", row)}
    monkeypatch.setattr("apps.sources.schemes.registry.PROVIDERS", table)


def signed_by_acme(body: bytes = BODY, now: float = 1_700_000_000) -> Request:
    """What Acme sends, signed at 1700000000 with the key "key" over BODY."""
    signature = hmac.new(b"key", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    headers = {
        b"x-acme-signature": f"v1={signature}".encode(),
        b"x-acme-timestamp": b"1700000000",
        b"x-acme-delivery": b"d-1",
    }
    return Request("POST", "https://example.org/hooks/acme", headers, body, now)


@pytest.mark.usefixtures("_acme")
def test_the_example_of_a_signature_scheme_finds_id_and_type() -> None:
    verified = build_verifier("acme", {}, ["key"]).verify(signed_by_acme())
    assert (verified.event_id, verified.event_type) == ("d-1", "order.paid")


@pytest.mark.usefixtures("_acme")
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (signed_by_acme(BODY + b" "), "bad_signature"),
        (signed_by_acme(now=1_700_000_301), "stale_timestamp"),
    ],
)
def test_the_example_refuses_a_changed_byte_and_an_old_timestamp(
    request_: Request, code: str
) -> None:
    with pytest.raises(SignatureRefused) as refusal:
        build_verifier("acme", {}, ["key"]).verify(request_)
    assert refusal.value.code == code
