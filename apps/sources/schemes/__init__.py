"""Signature schemes: how each provider proves that a webhook is its own.

    verifier = build_verifier("github", {}, ["the secret"])     # once per source
    verified = verifier.verify(Request("POST", url, headers, body, now))

Families of verification are modules of this package, providers are rows of `providers.toml`.
"""

from apps.sources.schemes.base import (
    CertificateSource,
    CertificateUnavailable,
    Handshake,
    Request,
    SignatureRefused,
    Verified,
    Verifier,
)
from apps.sources.schemes.body import get_json_text, is_json, read_body
from apps.sources.schemes.diagnosis import Case, explain
from apps.sources.schemes.made_secrets import can_make_secret, make_secret
from apps.sources.schemes.options import Choice, OptionField, WrongOptions
from apps.sources.schemes.registry import (
    SCHEMES,
    Answer,
    SchemeInfo,
    build_verifier,
    get_id_headers,
    sample_request,
    sign,
)
from apps.sources.schemes.sample import SampleRequest

__all__ = [
    "SCHEMES",
    "Answer",
    "Case",
    "CertificateSource",
    "CertificateUnavailable",
    "Choice",
    "Handshake",
    "OptionField",
    "Request",
    "SampleRequest",
    "SchemeInfo",
    "SignatureRefused",
    "Verified",
    "Verifier",
    "WrongOptions",
    "build_verifier",
    "can_make_secret",
    "explain",
    "get_id_headers",
    "get_json_text",
    "is_json",
    "make_secret",
    "read_body",
    "sample_request",
    "sign",
]
