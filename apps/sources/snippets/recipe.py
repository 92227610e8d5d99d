"""How a test event is made, in no language yet: what is computed from what.

Nothing here knows a scheme. The scheme signs an event of placeholders; what it did is recorded,
and each placeholder found in the result becomes a variable.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from apps.sources.sample_request import EVENT_TYPE, get_sample_fields
from apps.sources.schemes import (
    SCHEMES,
    SampleRequest,
    make_secret,
    sample_request,
)
from apps.sources.schemes.encodings import ENCODERS, decode_signature, encode_base64
from apps.sources.schemes.recording import Signing, recorded_signings
from apps.sources.schemes.timestamps import UNITS, format_timestamp

JWT_ENCODING = "base64url_nopad"
JWT_LIFETIME_S = 300
_NOW = 1_234_567_890
_EVENT_ID = "test_placeholder_of_an_event"


class UnrecordedSigning(Exception):
    """A scheme signs by other keys than those of `schemes/keys.py`: nobody knows how."""

    code = "unrecorded_signing"
    permanent = True
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Var:
    """A name whose value is known only when the snippet runs."""

    name: str


Parts = tuple[str | Var, ...]
"""A text: literals and variables in turn."""


@dataclass(frozen=True, slots=True)
class Hmac:
    """`algorithm` is a hash's name (sha256); `key_form` and `encoding` are those of a scheme."""

    algorithm: str
    key_form: str
    encoding: str
    message: Parts


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, as bytes, in an encoding of schemes, or "percent" for the query of a URL."""

    encoding: str
    text: Parts


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 of a text, in base64."""

    text: Parts


Value = Hmac | Encoded | Digest | Parts


@dataclass(frozen=True, slots=True)
class Recipe:
    """`steps` are computed in this order, from `secret`, `event_id`, `times` and those before;
    `url` and `body` are among them.

    `times` are the units of the current time that are used (`UNITS`, or "expires").
    """

    times: tuple[str, ...]
    steps: tuple[tuple[str, Value], ...]
    headers: tuple[tuple[str, Parts], ...]


def make_recipe(
    scheme: str,
    options: Mapping[str, object],
    secret: str,
    url: str,
    event_type: str = EVENT_TYPE,
) -> Recipe:
    """The recipe for a source. Of `secret` only its form counts; it never gets into the recipe.

    Raises `WrongOptions` where only the provider can sign, and `UnrecordedSigning`.
    """
    # Asked first, because it says why not where the secret is a public key.
    _sample(scheme, options, secret, url, event_type)
    recipe, other = (_record(scheme, options, secret, url, event_type) for _ in range(2))
    if recipe != other:  # something of a stand-in is left in it
        raise UnrecordedSigning(f"There is no program for {SCHEMES[scheme].label} yet.")
    return recipe


def _record(
    scheme: str, options: Mapping[str, object], secret: str, url: str, event_type: str
) -> Recipe:
    stand_in = _stand_in(scheme, options, secret)
    with recorded_signings() as signings:
        request = _sample(scheme, options, stand_in, url, event_type)
    return _generalise(request, signings, stand_in)


def _stand_in(scheme: str, options: Mapping[str, object], secret: str) -> str:
    """A secret of the same form: GitLab's say by their beginning how they are used."""
    made = make_secret(scheme, options)
    if secret.startswith("whsec_") and not made.startswith("whsec_"):
        return "whsec_" + base64.b64encode(made.encode()).decode()
    return made


def _sample(
    scheme: str, options: Mapping[str, object], secret: str, url: str, event_type: str
) -> SampleRequest:
    fields = get_sample_fields(_EVENT_ID)
    return sample_request(
        scheme, options, secret, url, _NOW, fields=fields, event_id=_EVENT_ID, event_type=event_type
    )


def _generalise(request: SampleRequest, signings: list[Signing], secret: str) -> Recipe:
    body = request.body.decode()
    known = {
        _EVENT_ID: "event_id",
        secret: "secret",
        request.url: "url",
        str(_NOW + JWT_LIFETIME_S): "expires",
    }
    known |= {format_timestamp(_NOW, unit): unit for unit, _ in UNITS}
    steps = _address(request.url, secret)
    credentials = encode_base64(secret.encode()).decode()
    if any(credentials in value for value in request.headers.values()):
        known[credentials] = "credentials"
        steps.append(("credentials", Encoded("base64", (Var("secret"),))))
    for signing in signings:
        steps += _sign(signing, body, known)
        known[signing.signature.decode()] = "signature"
    body_parts = _split(body, known)
    place = len(steps) if Var("signature") in body_parts else 1
    steps.insert(place, ("body", body_parts))
    headers = tuple((name, _split(value, known)) for name, value in request.headers.items())
    return Recipe(_find_times(steps, headers), tuple(steps), headers)


def _address(url: str, secret: str) -> list[tuple[str, Value]]:
    """The step to the URL; one before it where the secret is a part of the URL."""
    if secret not in url:
        return [("url", (url,))]
    token = Encoded("percent", (Var("secret"),))
    return [("token", token), ("url", _split(url, {secret: "token"}))]


def _sign(signing: Signing, body: str, known: dict[str, str]) -> list[tuple[str, Value]]:
    """The steps to one signature: a token's claims come before it."""
    message = signing.message.decode()
    steps: list[tuple[str, Value]] = []
    head, dot, rest = message.partition(".")
    claims = decode_signature(JWT_ENCODING, rest.encode()) if head.startswith("eyJ") else None
    if dot and claims:
        body_hash = encode_base64(hashlib.sha256(body.encode()).digest()).decode()
        if body_hash in claims.decode():
            known[body_hash] = "body_hash"
            steps.append(("body_hash", Digest((Var("body"),))))
        steps.append(("claims", Encoded(JWT_ENCODING, _split(claims.decode(), known))))
        known[ENCODERS[JWT_ENCODING](claims).decode()] = "claims"
    parts = _split(message, known | {body: "body"})
    algorithm = signing.algorithm.removeprefix("hmac-")
    value = Hmac(algorithm, signing.key_form, signing.encoding, parts)
    return [*steps, ("signature", value)]


def _split(text: str, known: Mapping[str, str]) -> Parts:
    """`text` with each known value as its variable, the longest first."""
    parts: list[str | Var] = [text]
    for value in sorted(known, key=len, reverse=True):
        parts = [piece for part in parts for piece in _cut(part, value, Var(known[value]))]
    return tuple(parts)


def _cut(part: str | Var, value: str, variable: Var) -> list[str | Var]:
    if isinstance(part, Var):
        return [part]
    pieces: list[str | Var] = []
    for place, literal in enumerate(part.split(value)):
        pieces += [variable] if place else []
        pieces += [literal] if literal else []
    return pieces


def _find_times(
    steps: list[tuple[str, Value]], headers: tuple[tuple[str, Parts], ...]
) -> tuple[str, ...]:
    used = {part for _, value in (*steps, *headers) for part in _get_parts(value)}
    return tuple(unit for unit in (*dict(UNITS), "expires") if Var(unit) in used)


def _get_parts(value: Value) -> Parts:
    if isinstance(value, Hmac):
        return value.message
    return value if isinstance(value, tuple) else value.text
