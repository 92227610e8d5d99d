"""Braintree: a form of a payload (base64 of XML) and of its signatures, one for each API key."""

from __future__ import annotations

import base64
import hashlib
import re
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, NamedTuple

from apps.sources.schemes.base import (
    BadSignature,
    MalformedSignature,
    MissingSignature,
    Request,
    Verified,
    Verifier,
)
from apps.sources.schemes.body import read_body
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import Options, WrongOptions

SIGNATURE, PAYLOAD = "bt_signature", "bt_payload"
MAX_SIGNATURES = 20
_BASE64 = re.compile(r"[A-Za-z0-9+/=\n]+")
_KIND = re.compile(rb"<kind>([a-z0-9_]{1,100})</kind>")


class KeyPair(NamedTuple):
    """An API key: the public half names it, the private half signs."""

    public: str
    private: bytes  # hashed, as it is used

    def sign(self, text: str) -> str:
        """public|hex, as it is sent."""
        signature = hmac_digest(self.private, text.encode("ascii"), "sha1").hex()
        return f"{self.public}|{signature}"


def read_pair(secret: str) -> KeyPair:
    """Out of public:private; raises WrongOptions."""
    public, _, private = secret.partition(":")
    if not (public.isascii() and public and private):
        raise WrongOptions("secrets", "Write the secret as public key:private key.")
    hashed = hashlib.sha1(private.encode("utf-8"), usedforsecurity=False)  # Braintree's own way
    return KeyPair(public, hashed.digest())


class BraintreeVerifier(Verifier):
    def __init__(self, setup: Setup) -> None:
        self._pairs = [read_pair(secret) for secret in setup.secrets]
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._pairs)
        payload, given = _form(request)
        kind = _kind(payload)
        for index, pair in enumerate(self._pairs):
            if _is_signed(pair, payload, given):
                verified = self._labels.verified(request, index)
                verified.event_type = verified.event_type or kind
                return verified
        raise BadSignature("The signature matches none of the active keys.")


def _form(request: Request) -> tuple[str, list[str]]:
    """(payload, signatures)"""
    form = read_body(request)
    fields = form if isinstance(form, dict) else {}
    payload, signatures = fields.get(PAYLOAD), fields.get(SIGNATURE)
    if not (isinstance(payload, str) and isinstance(signatures, str) and payload and signatures):
        raise MissingSignature(f"The form has no {PAYLOAD} or no {SIGNATURE}.")
    given = signatures.split("&")
    if not _BASE64.fullmatch(payload) or not signatures.isascii() or len(given) > MAX_SIGNATURES:
        raise MalformedSignature("The payload or its signatures cannot be read.")
    return payload, given


def _kind(payload: str) -> str:
    # A payload without a kind could be an answered challenge, which is signed with the same key.
    try:
        found = _KIND.search(base64.b64decode(payload))
    except ValueError:
        found = None
    if found is None:
        raise MalformedSignature("The payload is not a notification.")
    return found[1].decode("ascii")


def _is_signed(pair: KeyPair, payload: str, given: list[str]) -> bool:
    # Braintree's own libraries also take a payload that has lost its last line break.
    right = [pair.sign(text) for text in (payload, payload + "\n")]
    return any(compare_digest(each, signature) for each in right for signature in given)


def fill(options: Options, event: Outgoing, fields: dict[str, Any]) -> dict[str, Any]:
    """The two fields of a notification."""
    kind = re.sub("[^a-z0-9_]", "_", event.event_type.lower()) or "check"
    xml = f"<notification><kind>{kind}</kind></notification>"
    payload = base64.encodebytes(xml.encode("utf-8")).decode("ascii")
    return fields | {PAYLOAD: payload, SIGNATURE: read_pair(event.secret).sign(payload)}


FAMILY = Family("braintree", (), BraintreeVerifier, fill=fill, is_form=True)
