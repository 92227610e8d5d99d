"""The table of schemes, and the doors of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from apps.sources.schemes.base import CertificateSource, Verifier
from apps.sources.schemes.challenges import CHALLENGES
from apps.sources.schemes.family import Outgoing, Setup
from apps.sources.schemes.labels import Labels
from apps.sources.schemes.options import OptionField, Options, WrongOptions
from apps.sources.schemes.providers import PROVIDERS, MadeBy, Provider
from apps.sources.schemes.sample import SampleRequest, make_body


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
    what it looks like, `made_by` who makes it up (the provider, the admin, or the provider in a
    handshake), `test_help` where the provider itself sends a test event, "" where nowhere we know
    of, `example_type` a usual type of its events. `can_sign`: `sign` can make the headers of a test
    event. `answer` is None where any 2xx will do.
    """

    slug: str
    label: str
    docs_url: str
    default_options: Mapping[str, object]
    fields: tuple[OptionField, ...]
    secret_help: str
    paste_help: str
    made_by: MadeBy
    test_help: str
    example_type: str
    needs_secret: bool = True
    can_sign: bool = True
    has_handshake: bool = False
    answer: Answer | None = None


def _info(slug: str, provider: Provider) -> SchemeInfo:
    return SchemeInfo(
        slug=slug,
        label=provider.label,
        docs_url=provider.docs,
        default_options={field.name: field.default for field in provider.adjustable},
        fields=provider.adjustable,
        secret_help=provider.secret,
        paste_help=provider.paste,
        made_by=provider.made_by,
        test_help=provider.test,
        example_type=provider.example,
        needs_secret=provider.needs_secret,
        can_sign=provider.can_sign,
        has_handshake=bool(provider.challenge),
        answer=Answer(*provider.answer) if provider.answer else None,
    )


SCHEMES: Mapping[str, SchemeInfo] = {
    slug: _info(slug, provider) for slug, provider in PROVIDERS.items()
}


def build_verifier(
    scheme: str,
    options: Mapping[str, object],
    secrets: Sequence[str],
    *,
    fetch_certificate: CertificateSource | None = None,
) -> Verifier:
    """The verifier of one source, with its key material prepared.

    `secrets` are the active ones, oldest first: any of them will do, and a challenge that has to
    be signed is signed with the newest. `fetch_certificate` is needed for Amazon SNS and PayPal.

    Raises `WrongOptions` for an unknown scheme ("scheme"), an option or a secret ("secrets") that
    cannot be used. No secret is no error here: the verifier then refuses every request.
    """
    provider = _provider(scheme)
    complete = _complete(provider, options)
    certificate_at = fetch_certificate or _no_certificate
    setup = Setup(complete, tuple(secrets), Labels(complete), certificate_at)
    verifier = provider.family.build(setup)
    if provider.challenge:
        verifier.challenge = CHALLENGES[provider.challenge](complete, setup.secrets)
    return verifier


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

    For the demo's curl line, our own deliveries and tests. `url` matters to the few providers
    that sign it. Raises `WrongOptions` where the scheme cannot sign (its secret is a public key,
    or the signature stands inside the body: see `sample_request`).
    """
    provider = _provider(scheme)
    if provider.family.sign is None:
        raise WrongOptions("scheme", f"{provider.label} has no headers that only need signing.")
    event = Outgoing(secret, body, now, event_id, event_type, url)
    return _sign(provider, _complete(provider, options), event)


def sample_request(
    scheme: str,
    options: Mapping[str, object],
    secret: str,
    url: str,
    now: float,
    *,
    fields: Mapping[str, str],
    event_id: str,
    event_type: str,
) -> SampleRequest:
    """A whole test event as this provider would send it to `url` at `now` (unix seconds).

    The body holds `fields`, and id and type where the provider has them in the body. Raises
    `WrongOptions`, with a sentence to show, where only the provider itself can sign: field
    "secrets" for a public key (a private key in PEM would do), "scheme" for Amazon SNS.
    """
    provider = _provider(scheme)
    complete = _complete(provider, options)
    family = provider.family
    if not (family.sign or family.fill):
        raise WrongOptions("scheme", f"{provider.label} cannot be imitated: only it can sign.")
    event = Outgoing(secret, b"", now, event_id, event_type, url)
    content_type, body = make_body(family, complete, fields, event)
    headers = {"Content-Type": content_type} | _sign(provider, complete, replace(event, body=body))
    if family.address:
        url = family.address(complete, secret, url)
    return SampleRequest("POST", url, headers, body)


def get_id_headers(scheme: str, options: Mapping[str, object]) -> tuple[bytes, ...]:
    """The headers by which this provider tells one event from another, also where nobody has
    verified them. Raises `WrongOptions`.
    """
    return _get_headers(_provider(scheme), options, ("event_id_header", "id_header"))


def get_signature_headers(scheme: str) -> tuple[bytes, ...]:
    """The headers in which this provider signs unless the source says otherwise; () where that
    is no option.
    """
    return _get_headers(_provider(scheme), {}, ("header",))


def _get_headers(
    provider: Provider, options: Mapping[str, object], names: Sequence[str]
) -> tuple[bytes, ...]:
    complete, there = _complete(provider, options), {field.name for field in provider.fields}
    return tuple(header for name in names if name in there for header in complete.headers(name))


def _sign(provider: Provider, options: Options, event: Outgoing) -> dict[str, str]:
    headers = {}
    if name := options.first_header("event_type_header"):
        headers[name] = event.event_type
    if name := options.first_header("event_id_header"):
        headers[name] = event.event_id
    return headers | (provider.family.sign(options, event) if provider.family.sign else {})


def _provider(scheme: str) -> Provider:
    if scheme not in PROVIDERS:
        raise WrongOptions("scheme", "There is no such signature scheme.")
    return PROVIDERS[scheme]


def _complete(provider: Provider, options: Mapping[str, object]) -> Options:
    """The provider's own options with the source's on top."""
    adjustable = {field.name for field in provider.adjustable}
    for name in options:
        if name not in adjustable:
            raise WrongOptions(name, f"{provider.label} has no option of this name.")
    return Options({field.name: field.read(options) for field in provider.fields})


def _no_certificate(url: str) -> bytes | None:
    return None
