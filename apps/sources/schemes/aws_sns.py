"""Amazon SNS: fields of the body, signed with the certificate that the body names."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from apps.sources.schemes.asymmetric import check_rsa
from apps.sources.schemes.base import (
    BadSignature,
    CertificateUnavailable,
    MalformedSignature,
    MissingSignature,
    Request,
    UntrustedCertificate,
    Verified,
    Verifier,
)
from apps.sources.schemes.body import read_body
from apps.sources.schemes.encodings import decode_signature
from apps.sources.schemes.family import Family, Setup
from apps.sources.schemes.options import OptionField, WrongOptions
from apps.sources.schemes.stamp import TOLERANCE_FIELD
from apps.sources.schemes.timestamps import Window

FIELDS = (
    OptionField(
        "topic_arn",
        "ARN of the topic",
        help="arn:aws:sns:… Amazon signs for every customer: only your topics are let in. "
        "Several are separated by commas.",
    ),
    TOLERANCE_FIELD,
)
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = (
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)
_SIGNED_FIELDS = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_DIGESTS = {"1": "sha1", "2": "sha256"}
_HOST = r"https://sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(_HOST + r"/[A-Za-z0-9_-]{1,200}\.pem")
_SUBSCRIBE_URL = re.compile(_HOST + r"/\?[\x21-\x7e]{1,2000}")


class SnsVerifier(Verifier):
    """Trust rests on the certificate's address: https at Amazon's own SNS host, nothing else."""

    needs_certificate: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        topics = setup.options.text("topic_arn").split(",")
        self._topics = {topic.strip() for topic in topics if topic.strip()}
        if not self._topics:
            raise WrongOptions("topic_arn", "Say which topic may send here.")
        tolerance_s = setup.options.number("tolerance_s")
        self._window = None if tolerance_s is None else Window("iso8601", tolerance_s)
        self._certificate_at = setup.certificate_at
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        message = read_body(request)
        if not isinstance(message, dict):
            raise MissingSignature("The body is not a message of Amazon SNS.")
        signed = _signed_bytes(message)
        if self._window:
            self._window.check(_text(message, "Timestamp").encode(), request.now)
        if _text(message, "TopicArn") not in self._topics:
            raise BadSignature("The message comes from a topic that is not let in.")
        self._check(message, signed)
        return self._labels.verified(request, 0)

    def _check(self, message: dict[str, Any], signed: bytes) -> None:
        digest = _DIGESTS.get(str(message.get("SignatureVersion")))
        signature = decode_signature("base64", _text(message, "Signature").encode())
        if digest is None or signature is None:
            raise MalformedSignature("The signature or its version cannot be read.")
        try:
            check_rsa(self._public_key(message), digest, signature, signed)
        except InvalidSignature:
            raise BadSignature("The signature is not Amazon's for this message.") from None

    def _public_key(self, message: dict[str, Any]) -> rsa.RSAPublicKey:
        url = _text(message, "SigningCertURL")
        if not _CERTIFICATE_URL.fullmatch(url):
            raise UntrustedCertificate(
                "The certificate's address is not https at sns.<region>.amazonaws.com."
            )
        pem = self._certificate_at(url)
        if pem is None:
            raise CertificateUnavailable(url)
        key = x509.load_pem_x509_certificate(pem).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise UntrustedCertificate("The certificate holds no RSA key.")
        return key


def subscribe_url(request: Request) -> str | None:
    """The address that confirms a subscription, None unless it is Amazon's own.

    Only to be believed after the request was verified.
    """
    message = read_body(request)
    if not isinstance(message, dict) or message.get("Type") != "SubscriptionConfirmation":
        return None
    url = _text(message, "SubscribeURL")
    return url if _SUBSCRIBE_URL.fullmatch(url) else None


def _signed_bytes(message: dict[str, Any]) -> bytes:
    names = _SIGNED_FIELDS.get(_text(message, "Type"))
    if names is None:
        raise MalformedSignature("The message's type is unknown.")
    present = [name for name in names if name != "Subject" or message.get(name) is not None]
    lines = [f"{name}\n{_text(message, name)}\n" for name in present]
    return "".join(lines).encode("utf-8", "surrogatepass")


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise MissingSignature(f"The message lacks {name}.")
    return value


FAMILY = Family("aws_sns", FIELDS, SnsVerifier)
