"""JSON web tokens: only the source's own algorithm, key, body and time are taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apps.sources.schemes import (
    SignatureRefused,
    Verified,
    Verifier,
    WrongOptions,
    build_verifier,
)
from tests.schemes.key_pairs import private_key, private_pem, public_pem
from tests.schemes.requests import NOW, request_with, signed_request

BODY = b'{"webhook_type": "ITEM", "webhook_code": "ERROR"}'


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_jwk(**changes: str) -> str:
    """As Plaid hands it out."""
    key = private_key("ecdsa").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    fields = {"alg": "ES256", "crv": "P-256", "kid": "k1", "kty": "EC", "use": "sig"}
    point = {"x": encode(numbers.x.to_bytes(32, "big")), "y": encode(numbers.y.to_bytes(32, "big"))}
    return json.dumps(fields | point | changes)


def plaid(secret: str | None = None) -> Verifier:
    return build_verifier("plaid", {}, [public_jwk() if secret is None else secret])


def code_of(verifier: Verifier, headers: dict[str, str], now: float = NOW) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verifier.verify(request_with(headers, BODY, now))
    return refused.value.code


def plaid_headers(body: bytes = BODY) -> dict[str, str]:
    request = signed_request("plaid", private_pem("ecdsa"), body=body)
    return {"Plaid-Verification": request.headers[b"plaid-verification"].decode()}


@pytest.mark.parametrize("secret", [public_jwk(), public_pem("ecdsa")], ids=["jwk", "pem"])
def test_plaids_key_is_taken_as_json_or_pem(secret: str) -> None:
    verified = plaid(secret).verify(request_with(plaid_headers(), BODY))
    assert verified == Verified(0, None, "ITEM.ERROR")


def test_a_token_for_another_body_is_refused() -> None:
    assert code_of(plaid(), plaid_headers(b"{}")) == "bad_signature"


@pytest.mark.parametrize(("age_s", "code"), [(301, "stale_timestamp"), (-301, "future_timestamp")])
def test_a_token_made_long_ago_or_in_the_future_is_refused(age_s: int, code: str) -> None:
    assert code_of(plaid(), plaid_headers(), NOW + age_s) == code


def test_a_public_key_is_no_shared_secret() -> None:
    """The old trick: HS256 with the public key, which everybody has, as the secret."""
    pem = public_pem("ecdsa")
    head, claims = {"alg": "HS256"}, {"iat": NOW, "request_body_sha256": sha256_hex()}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
    signature = encode(hmac.digest(pem.encode(), signed.encode(), "sha256"))
    for secret in (pem, public_jwk()):
        code = code_of(plaid(secret), {"Plaid-Verification": f"{signed}.{signature}"})
        assert code == "malformed_signature"


def sha256_hex() -> str:
    return hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("claim", [None, "", 5, [], "zz"])
def test_a_token_without_the_bodys_hash_is_refused(claim: Any) -> None:
    claims = {"iat": NOW, "exp": NOW + 60, "body": claim}
    options: dict[str, object] = {"body_claim": "body", "body_encoding": "hex"}
    assert code_of(hs256(options), hs256_headers(claims)) == "bad_signature"


@pytest.mark.parametrize("issued", [None, "soon", True, float("nan"), 10**30, []])
def test_a_window_needs_a_token_that_says_when_it_was_made(issued: Any) -> None:
    claims = {"iat": issued}
    assert code_of(hs256({"tolerance_s": 300}), hs256_headers(claims)) == "malformed_signature"


def hs256(options: dict[str, object]) -> Verifier:
    return build_verifier("jwt", options, ["secret"])


def hs256_headers(claims: dict[str, Any]) -> dict[str, str]:
    head = encode(b'{"alg":"HS256"}')
    signed = f"{head}.{encode(json.dumps(claims).encode())}"
    signature = encode(hmac.digest(b"secret", signed.encode(), "sha256"))
    return {"Authorization": f"Bearer {signed}.{signature}"}


@pytest.mark.parametrize("expires", [NOW - 1, NOW, "later", True, None])
def test_a_token_that_has_expired_is_refused(expires: Any) -> None:
    claims = {"exp": expires}
    if expires is None:  # it never does, where it does not say so
        assert hs256({}).verify(request_with(hs256_headers(claims), BODY)).secret_index == 0
    else:
        assert code_of(hs256({}), hs256_headers(claims)) == "stale_timestamp"


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "text",
        "{}",
        "{not json",
        public_jwk(crv="P-384"),
        public_jwk(kty="RSA"),
        public_jwk(x="AAAA"),
        public_jwk(y="?"),
        public_pem("rsa"),
        public_pem("ed25519"),
    ],
)
def test_what_is_no_key_for_es256_is_named(secret: str) -> None:
    with pytest.raises(WrongOptions) as wrong:
        plaid(secret)
    assert wrong.value.field == "secrets"


@pytest.mark.parametrize("algorithm", ["none", "ES384", "hs256", ""])
def test_an_unknown_algorithm_cannot_be_chosen(algorithm: str) -> None:
    with pytest.raises(WrongOptions) as wrong:
        build_verifier("jwt", {"algorithm": algorithm}, ["secret"])
    assert wrong.value.field == "algorithm"
