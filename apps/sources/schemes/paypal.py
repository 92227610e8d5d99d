"""PayPal: the transmission's id and time, the webhook's id and the body's CRC-32, signed with the
certificate that a header names.

The secret of a source is the webhook's id: PayPal signs for everybody with the same keys.
"""

from __future__ import annotations

import re
import zlib
from typing import ClassVar

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
from apps.sources.schemes.encodings import decode_key, decode_signature
from apps.sources.schemes.family import Family, Setup, refuse_without_secret
from apps.sources.schemes.stamp import TOLERANCE_FIELD
from apps.sources.schemes.timestamps import Window

_CERTIFICATE_URL = re.compile(
    r"https://api(?:-m)?(?:\.sandbox)?\.paypal\.com/v1/notifications/certs/[A-Za-z0-9_-]{1,200}"
)
ALGORITHM = b"SHA256withRSA"


class PayPalVerifier(Verifier):
    """Trust rests on the certificate's address: https at PayPal's own API, nothing else."""

    needs_certificate: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        self._webhook_ids = [decode_key("text", secret) for secret in setup.secrets]
        tolerance_s = setup.options.number("tolerance_s")
        self._window = None if tolerance_s is None else Window("iso8601", tolerance_s)
        self._certificate_at = setup.certificate_at
        self._labels = setup.labels

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._webhook_ids)
        transmission, sent_at = _header(request, "id"), _header(request, "time")
        signature = decode_signature("base64", _header(request, "sig"))
        if signature is None or request.headers.get(b"paypal-auth-algo") != ALGORITHM:
            raise MalformedSignature("The signature or its algorithm cannot be read.")
        if self._window:
            self._window.check(sent_at, request.now)
        key = self._public_key(request)
        checksum = zlib.crc32(request.body)
        for index, webhook_id in enumerate(self._webhook_ids):
            message = b"%b|%b|%b|%d" % (transmission, sent_at, webhook_id, checksum)
            if _is_right(key, signature, message):
                return self._labels.verified(request, index)
        raise BadSignature("The signature is not PayPal's for this body and any active webhook id.")

    def _public_key(self, request: Request) -> rsa.RSAPublicKey:
        url = request.headers.get(b"paypal-cert-url", b"").decode("latin-1")
        if not _CERTIFICATE_URL.fullmatch(url):
            raise UntrustedCertificate("The certificate's address is not https at api.paypal.com.")
        pem = self._certificate_at(url)
        if pem is None:
            raise CertificateUnavailable(url)
        key = x509.load_pem_x509_certificate(pem).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise UntrustedCertificate("The certificate holds no RSA key.")
        return key


def _header(request: Request, name: str) -> bytes:
    value = request.headers.get(f"paypal-transmission-{name}".encode())
    if not value:
        raise MissingSignature(f"The header paypal-transmission-{name} is missing or empty.")
    return value


def _is_right(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        check_rsa(key, "sha256", signature, message)
    except InvalidSignature:
        return False
    return True


FAMILY = Family("paypal", (TOLERANCE_FIELD,), PayPalVerifier)
