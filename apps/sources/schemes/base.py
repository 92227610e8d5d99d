"""What a signature scheme sees, answers and refuses. No Django here: ingest is a hot path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

CertificateSource = Callable[[str], bytes | None]
"""Gives the PEM certificate behind an https URL from a cache, or None while it is unknown.

It must not block: whoever builds the verifier fetches what `CertificateUnavailable.url` names
and lets the sender try again.
"""


UNREAD = object()
"""Nobody has parsed the body yet."""

# Request and Verified are made for every request and therefore not frozen: a frozen dataclass
# takes 0.9 µs to make, this one 0.2 µs. Nobody changes one.


@dataclass(slots=True)
class Request:
    """All that a scheme may look at.

    Header names are lower case and unique (the edge refuses duplicates), `url` is the full public
    URL as the sender used it, `body` the raw bytes, `now` unix time in seconds. `document` is the
    parsed body as soon as somebody needed it; ask `body.read_body` or `body.is_json`. `client` is
    the other end of the connection, which may be a proxy. `is_known_json`: somebody has looked.
    """

    method: str
    url: str
    headers: Mapping[bytes, bytes]
    body: bytes
    now: float
    document: object = UNREAD
    client: tuple[str, int] | None = None
    is_known_json: bool = False


@dataclass(slots=True)
class Verified:
    """A request whose sender knows a secret of the source.

    `secret_index` counts in the sequence given to `build_verifier`. `event_id` is the provider's
    own id, the idempotency key; None: the caller falls back to a hash of the body. `event_type`
    is '' where the provider says none.
    """

    secret_index: int
    event_id: str | None
    event_type: str


@dataclass(frozen=True, slots=True)
class Handshake:
    """The finished answer to a provider's challenge; no event is made of that request.

    `learned_secret` is a secret which the provider hands over in its challenge (Asana, Notion):
    the caller stores it as a secret of the source, encrypted, where it is new. `visit_url` is an
    address that the caller must GET to confirm (AWS SNS), already checked to be the provider's.
    """

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    learned_secret: str | None = field(default=None, repr=False)
    visit_url: str | None = None


class SignatureRefused(Exception):
    """The request does not prove that its sender knows a secret of the source.

    `code` is for machines, `detail` a plain sentence for the page and the log: it never contains
    a secret, a signature that would have been right, or a piece of the payload.
    """

    code: ClassVar[str] = "bad_signature"
    permanent: ClassVar[bool] = True
    retry_after_s: ClassVar[float | None] = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoSecret(SignatureRefused):
    code = "no_secret"


class MissingSignature(SignatureRefused):
    code = "missing_signature"


class MalformedSignature(SignatureRefused):
    code = "malformed_signature"


class BadSignature(SignatureRefused):
    code = "bad_signature"


class WrongTime(SignatureRefused):
    """`age_s`: by how much its time lies before now; negative: after. 0: nobody knows."""

    def __init__(self, detail: str, age_s: float = 0.0) -> None:
        super().__init__(detail)
        self.age_s = age_s


class StaleTimestamp(WrongTime):
    code = "stale_timestamp"


class FutureTimestamp(WrongTime):
    code = "future_timestamp"


class ChallengeRefused(SignatureRefused):
    """A handshake that carries the wrong token; the answer is 403, as Meta's docs ask."""

    code = "challenge_refused"


class UntrustedCertificate(SignatureRefused):
    """The request names a certificate which does not lie at the provider's own address."""

    code = "untrusted_certificate"


class CertificateUnavailable(SignatureRefused):
    """The certificate at `url` (already checked to be the provider's) is not in the cache yet."""

    code = "certificate_unavailable"
    permanent = False
    retry_after_s = 5.0

    def __init__(self, url: str) -> None:
        super().__init__("The provider's certificate has not been fetched yet; try again.")
        self.url = url


class Challenge:
    """A kind of handshake; `answer` may ask `verifier` to check a signed challenge first."""

    takes_get: bool = False
    takes_post: bool = False

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        """The answer, None where the request is no challenge; raises `SignatureRefused`."""
        return None


class Verifier:
    """Checks the requests of one source. Built once per source; key material is prepared then."""

    challenge: Challenge | None = None
    needs_certificate: ClassVar[bool] = False
    """Whether `verify` may raise CertificateUnavailable, and is worth a second try then."""

    @property
    def takes_get(self) -> bool:
        """Whether a GET or HEAD may be a challenge here."""
        return self.challenge is not None and self.challenge.takes_get

    @property
    def takes_post_challenge(self) -> bool:
        """Whether a POST may be a challenge; where not, nobody need ask `handshake` for a POST."""
        return self.challenge is not None and self.challenge.takes_post

    def verify(self, request: Request) -> Verified:
        """Who signed it, and what it is. Raises a `SignatureRefused` otherwise."""
        raise NotImplementedError

    def handshake(self, request: Request) -> Handshake | None:
        """The answer to a challenge, or None where the request is not one.

        Raises `SignatureRefused` for a challenge that must be refused.
        """
        return self.challenge.answer(request, self) if self.challenge else None
