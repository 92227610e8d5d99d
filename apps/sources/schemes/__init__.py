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
from apps.sources.schemes.body import is_json, read_body
from apps.sources.schemes.diagnosis import explain
from apps.sources.schemes.options import Choice, OptionField, WrongOptions
from apps.sources.schemes.registry import (
    SCHEMES,
    Answer,
    SchemeInfo,
    build_verifier,
    sample_event,
    sign,
)
from apps.sources.schemes.sample import SampleEvent

__all__ = [
    "SCHEMES",
    "Answer",
    "CertificateSource",
    "CertificateUnavailable",
    "Choice",
    "Handshake",
    "OptionField",
    "Request",
    "SampleEvent",
    "SchemeInfo",
    "SignatureRefused",
    "Verified",
    "Verifier",
    "WrongOptions",
    "build_verifier",
    "explain",
    "is_json",
    "read_body",
    "sample_event",
    "sign",
]
