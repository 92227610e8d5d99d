"""An unknown provider is set up in the browser: every parameter of its signature can be said."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.sources.schemes import (
    SCHEMES,
    Request,
    SignatureRefused,
    Verifier,
    build_verifier,
    make_secret,
    sign,
)
from tests.pages.conftest import Browse
from tests.schemes.key_pairs import private_pem, public_pem
from tests.schemes.requests import NOW, URL, request_with

BODY = b'{"sent": {"at": "2023-11-14T22:13:20Z"}, "id": "e1"}'


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


@dataclass
class Custom:
    """What an admin types, what the provider then signs, and how it sends that."""

    options: dict[str, Any]
    secret: str
    key: bytes
    message: bytes
    digest: str
    write: Any
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, body: bytes = BODY) -> Request:
        signature = self.write(hmac.digest(self.key, self.message, self.digest))
        sent = {name: text.replace("SIGNATURE", signature) for name, text in self.headers.items()}
        return request_with(sent, body, NOW)


def as_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def as_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


CUSTOM = {
    "several signatures and a timestamp in one header": Custom(
        {
            "header": "X-Acme-Signature",
            "separator": ",",
            "prefix": "v1=",
            "timestamp_prefix": "t=",
            "signed": "{timestamp}.{body}",
            "algorithm": "hmac-sha512",
            "tolerance_s": "60",
        },
        *("a secret", b"a secret", b"1700000000." + BODY, "sha512", bytes.hex),
        {"X-Acme-Signature": "t=1700000000,v1=00,v1=SIGNATURE,v0=11"},
    ),
    "a space between signatures, an id, a base64 key": Custom(
        {
            "header": "X-Sig",
            "separator": " ",
            "prefix": "v1,",
            "id_header": "X-Id",
            "timestamp_header": "X-Time",
            "signed": "{id}.{timestamp}.{body}",
            "encoding": "base64",
            "key_form": "base64",
            "event_id_header": "X-Id",
        },
        *("AAEC/w==", b"\0\1\2\xff", b"m1.1700000000." + BODY, "sha256", as_base64),
        {"X-Sig": "v1,AAAA v1,SIGNATURE", "X-Id": "m1", "X-Time": "1700000000"},
    ),
    "spaces as they are signed, milliseconds, a hex key, SHA-1": Custom(
        {
            "header": "X-Sig",
            "prefix": "HMAC ",
            "timestamp_header": "X-Time",
            "timestamp_unit": "milliseconds",
            "tolerance_s": "5",
            "signed": " {method} {url} | {header:X-Nonce} | {timestamp}\t{body} ",
            "algorithm": "hmac-sha1",
            "encoding": "hex_any_case",
            "key_form": "hex",
        },
        *("00ff", b"\0\xff", f" POST {URL} | n1 | 1700000000000\t".encode() + BODY + b" ", "sha1"),
        lambda raw: raw.hex().upper(),
        {"X-Sig": "HMAC SIGNATURE", "X-Nonce": "n1", "X-Time": "1700000000000"},
    ),
    "a timestamp in the body, SHA-384": Custom(
        {
            "header": "X-Sig",
            "timestamp_path": "sent.at",
            "timestamp_unit": "iso8601",
            "tolerance_s": "5",
            "signed": "{timestamp};{body}",
            "algorithm": "hmac-sha384",
            "encoding": "base64url",
        },
        *("a secret", b"a secret", b"2023-11-14T22:13:20Z;" + BODY, "sha384", as_base64url),
        {"X-Sig": "SIGNATURE"},
    ),
}


def make_source(client: Client, pipeline: Pipeline, scheme: str, **fields: Any) -> Source:
    form = {"name": "Acme", "slug": "acme", "pipeline": pipeline.pk}
    defaults = {f"option_{k}": v or "" for k, v in SCHEMES[scheme].default_options.items()}
    response = client.post(f"/sources/source/add/?scheme={scheme}", form | defaults | fields)
    errors = re.findall(r'class="[^"]*errorlist[^"]*".*?</', response.content.decode())
    assert Source.objects.exists(), errors
    return Source.objects.get()


def verifier_of(source: Source) -> Verifier:
    secrets = [secret.value for secret in source.get_active_secrets()]
    return build_verifier(source.scheme, source.options, secrets)


@pytest.mark.parametrize("name", CUSTOM)
def test_what_an_admin_types_is_what_is_verified(
    client: Client, triage: Pipeline, name: str
) -> None:
    custom = CUSTOM[name]
    typed = {f"option_{key}": value for key, value in custom.options.items()}
    source = make_source(client, triage, "hmac", secret=custom.secret, **typed)
    verifier = verifier_of(source)
    assert verifier.verify(custom.request()).secret_index == 0
    with pytest.raises(SignatureRefused):
        verifier.verify(custom.request(BODY.replace(b"e1", b"e2")))


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-sha256", "rsa-sha256", "rsa-pss-sha256"])
@pytest.mark.parametrize("lost", ["", "\n"], ids=["as it is", "line breaks lost in pasting"])
def test_a_public_key_is_pasted_as_pem(
    client: Client, triage: Pipeline, algorithm: str, lost: str
) -> None:
    typed = {"option_algorithm": algorithm, "option_key_form": "pem", "option_encoding": "base64"}
    pem = public_pem(algorithm).replace(lost, "") if lost else public_pem(algorithm)
    source = make_source(client, triage, "hmac", secret=pem, **typed)
    headers = sign("hmac", source.options, private_pem(algorithm), BODY, NOW, "", "")
    assert verifier_of(source).verify(request_with(headers, BODY)).secret_index == 0


@pytest.mark.parametrize("scheme", ["hmac", "api-key", "jwt", "hmac-body", "body-token"])
def test_saving_a_source_without_a_change_changes_nothing(
    client: Client, triage: Pipeline, scheme: str
) -> None:
    source = make_source(client, triage, scheme, secret=make_secret(scheme))
    path = f"/sources/source/{source.pk}/change/"
    assert source.options == {}
    shown = client.get(path).context["adminform"].form
    form = {name: shown[name].value() for name in shown.fields if shown[name].value() is not None}
    client.post(path, form)
    source.refresh_from_db()
    assert source.options == {}


def test_spaces_that_count_are_kept(client: Client, triage: Pipeline) -> None:
    source = make_source(
        client, triage, "api-key", secret="s3cret", option_header=" X-Key ", option_prefix="Key  "
    )
    assert source.options == {"header": "X-Key", "prefix": "Key  "}
    verifier = verifier_of(source)
    assert verifier.verify(request_with({"X-Key": "Key  s3cret"}, BODY)).secret_index == 0
    with pytest.raises(SignatureRefused):
        verifier.verify(request_with({"X-Key": "Key s3cret"}, BODY))
