"""What each family of verification gives to the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.sources.schemes.base import CertificateSource, NoSecret, Verifier
from apps.sources.schemes.labels import Labels
from apps.sources.schemes.options import OptionField, Options


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a verifier is built from; `options` hold every field of the family."""

    options: Options
    secrets: Sequence[str]
    labels: Labels
    certificate_at: CertificateSource


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that we send as the provider would: to try a source out."""

    secret: str
    body: bytes
    now: float
    event_id: str
    event_type: str
    url: str


@dataclass(frozen=True, slots=True)
class Family:
    """`name` stands in providers.toml; a provider's row fixes most of the `fields`.

    `sign` makes the headers of an event. Where the signature stands inside the body, `fill` gives
    the body of a test event with its signature instead. `is_form`: events are forms, not JSON.
    `address` gives the URL (options, secret, url) where the secret is a part of it.
    """

    name: str
    fields: tuple[OptionField, ...]
    build: Callable[[Setup], Verifier]
    sign: Callable[[Options, Outgoing], dict[str, str]] | None = None
    fill: Callable[[Options, Outgoing, dict[str, Any]], dict[str, Any]] | None = None
    is_form: bool = False
    address: Callable[[Options, str, str], str] | None = None


def refuse_without_secret(has_secret: object) -> None:
    """Fails closed: without a secret nothing can prove anything."""
    if not has_secret:
        raise NoSecret("The source has no active secret, so it accepts nothing.")
