"""Ed25519, ECDSA and RSA: the source holds a public key, in whatever form it is handed out."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apps.sources.schemes import SignatureRefused, WrongOptions, build_verifier
from apps.sources.schemes.asymmetric import MAX_TRIES
from tests.schemes.key_pairs import private_key, private_pem, public_pem
from tests.schemes.requests import BODY, signed_request, with_header

ALGORITHMS = (
    "ed25519",
    "ecdsa-sha256",
    "ecdsa-sha384",
    "rsa-sha256",
    "rsa-sha512",
    "rsa-sha1",
    "rsa-pss-sha256",
)


def options(algorithm: str) -> dict[str, object]:
    return {
        "algorithm": algorithm,
        "encoding": "base64",
        "key_form": "pem",
        "signed": "{timestamp}|{body}",
        "timestamp_header": "X-Time",
    }


EACH = pytest.mark.parametrize("algorithm", ALGORITHMS)


@EACH
def test_what_the_private_key_signed_the_public_key_accepts(algorithm: str) -> None:
    request = signed_request("hmac", private_pem(algorithm), options(algorithm))
    verifier = build_verifier("hmac", options(algorithm), [public_pem(algorithm)])
    assert verifier.verify(request).secret_index == 0


@EACH
def test_a_changed_byte_of_body_time_or_signature_is_refused(algorithm: str) -> None:
    request = signed_request("hmac", private_pem(algorithm), options(algorithm))
    verifier = build_verifier("hmac", options(algorithm), [public_pem(algorithm)])
    signature = request.headers[b"x-signature"]
    changed = [replace(request, body=change(BODY, at)) for at in (0, len(BODY) // 2, -1)]
    changed += [
        with_header(request, "X-Signature", change(signature, at)) for at in range(len(signature))
    ]
    changed += [with_header(request, "X-Time", change(b"1700000000", at)) for at in range(10)]
    for each in changed:
        with pytest.raises(SignatureRefused):
            verifier.verify(each)


def change(text: bytes, at: int) -> bytes:
    at %= len(text)
    return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


@EACH
def test_a_key_of_another_kind_is_named_as_wrong(algorithm: str) -> None:
    other = "rsa-sha256" if algorithm == "ed25519" else "ed25519"
    with pytest.raises(WrongOptions) as wrong:
        build_verifier("hmac", options(algorithm), [public_pem(other)])
    assert wrong.value.field == "secrets"


def test_discord_takes_its_public_key_in_hex() -> None:
    key = private_key("ed25519").public_key()
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    request = signed_request("discord", private_pem("ed25519"))
    assert build_verifier("discord", {}, [raw.hex()]).verify(request).secret_index == 0


def test_sendgrid_takes_its_public_key_as_its_page_shows_it() -> None:
    key = private_key("ecdsa").public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    request = signed_request("sendgrid", private_pem("ecdsa"))
    verifier = build_verifier("sendgrid", {}, [base64.b64encode(der).decode()])
    assert verifier.verify(request).secret_index == 0


def test_standard_webhooks_takes_a_public_key_beside_a_shared_one() -> None:
    key = private_key("ed25519").public_key()
    public = "whpk_" + base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    asymmetric = {**STANDARD, "algorithm": "ed25519", "prefix": "v1a,"}
    request = signed_request("hmac", private_pem("ed25519"), asymmetric)
    verifier = build_verifier("standard-webhooks", {}, ["whsec_c2VjcmV0", public])
    assert verifier.verify(request).secret_index == 1


STANDARD: dict[str, object] = {
    "header": "webhook-signature",
    "separator": " ",
    "signed": "{id}.{timestamp}.{body}",
    "encoding": "base64",
    "key_form": "pem",
    "timestamp_header": "webhook-timestamp",
    "id_header": "webhook-id",
}


def test_a_public_key_cannot_sign_a_test_event() -> None:
    with pytest.raises(WrongOptions):
        signed_request("hmac", public_pem("ed25519"), options("ed25519"))


def test_only_a_few_signatures_of_a_header_are_tried() -> None:
    many = options("ed25519") | {"separator": " "}
    request = signed_request("hmac", private_pem("ed25519"), many)
    verifier = build_verifier("hmac", many, [public_pem("ed25519")])
    right, wrong = request.headers[b"x-signature"], base64.b64encode(b"x" * 64)
    near = b" ".join([wrong] * (MAX_TRIES - 1) + [right])
    assert verifier.verify(with_header(request, "X-Signature", near)).secret_index == 0
    far = b" ".join([wrong] * MAX_TRIES + [right])
    with pytest.raises(SignatureRefused):
        verifier.verify(with_header(request, "X-Signature", far))
