"""The table of schemes, and the three doors of this package: SCHEMES, build_verifier, sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.sources.schemes.base import CertificateSource, Verifier
from apps.sources.schemes.options import OptionField, WrongOptions


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider wants to read when its event was taken in."""

    status: int
    content_type: str
    body: str


@dataclass(frozen=True, slots=True)
class SchemeInfo:
    """One provider as the picker and the form show it.

    `fields` are the options that an admin may set, `default_options` their defaults by name;
    `paste_help` says where the source's URL goes, `secret_help` where the secret comes from and
    what it looks like. `can_sign`: `sign` can make the headers of a test event. `answer` is None
    where any 2xx will do.
    """

    slug: str
    label: str
    docs_url: str
    default_options: Mapping[str, object]
    fields: tuple[OptionField, ...]
    secret_help: str
    paste_help: str
    needs_secret: bool = True
    can_sign: bool = True
    has_handshake: bool = False
    answer: Answer | None = None


SCHEMES: Mapping[str, SchemeInfo] = {}


def build_verifier(
    scheme: str,
    options: Mapping[str, object],
    secrets: Sequence[str],
    *,
    fetch_certificate: CertificateSource | None = None,
) -> Verifier:
    """The verifier of one source, with its key material prepared.

    Raises `WrongOptions` for an unknown scheme ("scheme"), an option or a secret ("secrets") that
    cannot be used. No secret is no error here: the verifier then refuses every request.
    """
    raise WrongOptions("scheme", "There is no such signature scheme.")


def sign(
    scheme: str,
    options: Mapping[str, object],
    secret: str,
    body: bytes,
    now: float,
    event_id: str,
    event_type: str,
    *,
    url: str = "",
) -> dict[str, str]:
    """The headers that this provider would send with `body` at `now` (unix seconds).

    For test events, the demo's curl line and tests. `url` matters to the few providers that sign
    it. Raises `WrongOptions` where the scheme cannot sign (its secret is a public key).
    """
    raise WrongOptions("scheme", "There is no such signature scheme.")
