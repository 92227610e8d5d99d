"""Handshakes: how a source answers the challenges of its provider."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qs, urlsplit

from apps.sources.schemes.aws_sns import subscribe_url
from apps.sources.schemes.base import (
    Challenge,
    ChallengeRefused,
    Handshake,
    Request,
    Verifier,
)
from apps.sources.schemes.body import read_body
from apps.sources.schemes.braintree import read_pair
from apps.sources.schemes.family import refuse_without_secret
from apps.sources.schemes.keys import make_key
from apps.sources.schemes.options import OptionField, Options
from apps.sources.schemes.shared_token import TokenVerifier

VERIFY_TOKEN_FIELD = OptionField(
    "verify_token", "Verify token", help="Any text; type the same into the provider's form."
)
MAX_CHALLENGE_CHARS = 2000
# Some providers ask for an HMAC of a text they choose. Events are signed with the same key, so a
# free choice would let a stranger have an event of his own signed: only plain tokens are taken,
# which can never be the signed string of an event ("v0:…:{body}" or a JSON body).
_PLAIN_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_BRAINTREE_TOKEN = re.compile(r"[a-f0-9]{20,32}")

Answer = Callable[[Request, Verifier], Handshake | None]


def _query(request: Request) -> dict[str, str]:
    query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
    return {name: values[0] for name, values in query.items()}


def _fields(request: Request) -> dict[str, Any]:
    document = read_body(request)
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_CHALLENGE_CHARS else None


def _plain(text: str) -> Handshake:
    return Handshake(body=text.encode("utf-8", "replace"))


def _json(value: object) -> Handshake:
    return Handshake(content_type="application/json", body=json.dumps(value).encode())


class SourceChallenge(Challenge):
    """A challenge of one source: its options and its active secrets."""

    def __init__(self, options: Options, secrets: Sequence[str]) -> None:
        self.options = options
        self.secrets = secrets

    def check_signed(self, request: Request, verifier: Verifier) -> None:
        """Before the first secret is there, an answer that tells nothing may be given."""
        if self.secrets:
            verifier.verify(request)

    def sign(self, encoding: str, text: str) -> str:
        refuse_without_secret(self.secrets)
        if not _PLAIN_TOKEN.fullmatch(text):
            raise ChallengeRefused("The challenge is not a plain token, so it is not signed.")
        newest = self.secrets[-1]  # a provider challenges after its secret was changed
        key = make_key("hmac-sha256", "text", encoding, b"", newest)
        return key.sign(text.encode("ascii")).decode("ascii")

    def learn(self, secret: str, answer: Handshake) -> Handshake:
        """A secret out of a challenge is only taken while the source has none: else anyone could
        plant his own."""
        if self.secrets:
            raise ChallengeRefused(
                "The source already has a secret; a new one is not taken from a challenge."
            )
        return Handshake(answer.status, answer.content_type, answer.body, answer.headers, secret)


class Head(SourceChallenge):
    """Trello, Mandrill and Intercom look whether the URL is there."""

    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        return Handshake() if request.method == "HEAD" else None


class Dropbox(SourceChallenge):
    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        text = _text(_query(request).get("challenge")) if request.method == "GET" else None
        return _plain(text) if text else None


class Slack(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if b"url_verification" not in request.body:
            return None
        fields = _fields(request)
        text = _text(fields.get("challenge"))
        if fields.get("type") != "url_verification" or not text:
            return None
        self.check_signed(request, verifier)
        return _plain(text)


class Asana(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        secret = request.headers.get(b"x-hook-secret")
        if not secret:
            return None
        answer = Handshake(headers={b"x-hook-secret": secret})
        return self.learn(secret.decode("latin-1"), answer)


class Notion(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if b"verification_token" not in request.body:
            return None
        fields = _fields(request)
        token = _text(fields.get("verification_token"))
        return self.learn(token, Handshake()) if token and len(fields) == 1 else None


class Okta(SourceChallenge):
    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        challenge = request.headers.get(b"x-okta-verification-challenge")
        if request.method != "GET" or not challenge or not isinstance(verifier, TokenVerifier):
            return None
        verifier.matching_secret(request)
        return _json({"verification": challenge.decode("latin-1")})


class Front(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        challenge = request.headers.get(b"x-front-challenge")
        if not challenge:
            return None
        verifier.verify(request)
        return _json({"challenge": challenge.decode("latin-1")})


class Meta(SourceChallenge):
    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        query = _query(request)
        text = _text(query.get("hub.challenge"))
        if request.method != "GET" or query.get("hub.mode") != "subscribe" or not text:
            return None
        token, given = self.options.text("verify_token"), query.get("hub.verify_token", "")
        if not token or not compare_digest(token.encode(), given.encode("utf-8", "replace")):
            raise ChallengeRefused("The verify token is not the one of this source.")
        return _plain(text)


class Twitter(SourceChallenge):
    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        token = _query(request).get("crc_token") if request.method == "GET" else None
        if token is None:
            return None
        return _json({"response_token": "sha256=" + self.sign("base64", token)})


class Zoom(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if b"endpoint.url_validation" not in request.body:
            return None
        fields = _fields(request)
        payload = fields.get("payload")
        token = _text(payload.get("plainToken")) if isinstance(payload, dict) else None
        if fields.get("event") != "endpoint.url_validation" or not token:
            return None
        return _json({"plainToken": token, "encryptedToken": self.sign("hex", token)})


class Discord(SourceChallenge):
    """Pings of interactions (type 1) and of webhook events (type 0).

    Discord also sends pings with wrong signatures, and wants them refused.
    """

    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        fields = _fields(request)
        kind = fields.get("type")
        if type(kind) is not int or kind not in (0, 1) or "event" in fields:
            return None
        verifier.verify(request)
        return _json({"type": 1}) if kind == 1 else Handshake(status=204)


class AwsSns(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if b"SubscriptionConfirmation" not in request.body or not subscribe_url(request):
            return None
        verifier.verify(request)
        return Handshake(visit_url=subscribe_url(request))


class Xero(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if _fields(request).get("events") != []:
            return None
        verifier.verify(request)
        return Handshake()


class Monday(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        fields = _fields(request)
        text = _text(fields.get("challenge"))
        return _json({"challenge": text}) if text and len(fields) == 1 else None


class Twitch(SourceChallenge):
    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        kind = request.headers.get(b"twitch-eventsub-message-type")
        text = _text(_fields(request).get("challenge"))
        if kind != b"webhook_callback_verification" or not text:
            return None
        self.check_signed(request, verifier)
        return _plain(text)


class WooCommerce(SourceChallenge):
    """When a webhook is saved, WooCommerce looks whether the URL answers."""

    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        return Handshake() if re.fullmatch(rb"webhook_id=\d{1,20}", request.body) else None


class MicrosoftGraph(SourceChallenge):
    """A new subscription is validated by a text in the URL, before any secret is told."""

    takes_post = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        if "validationToken=" not in request.url:
            return None
        text = _text(_query(request).get("validationToken"))
        return _plain(text) if text else None


class Braintree(SourceChallenge):
    takes_get = True

    def answer(self, request: Request, verifier: Verifier) -> Handshake | None:
        text = _query(request).get("bt_challenge") if request.method == "GET" else None
        if text is None:
            return None
        refuse_without_secret(self.secrets)
        if not _BRAINTREE_TOKEN.fullmatch(text):
            raise ChallengeRefused("The challenge is not a plain token, so it is not signed.")
        return _plain(read_pair(self.secrets[-1]).sign(text))


CHALLENGES: Mapping[str, Callable[[Options, Sequence[str]], Challenge]] = {
    "asana": Asana,
    "aws_sns": AwsSns,
    "braintree": Braintree,
    "discord": Discord,
    "dropbox": Dropbox,
    "front": Front,
    "head": Head,
    "meta": Meta,
    "microsoft_graph": MicrosoftGraph,
    "monday": Monday,
    "notion": Notion,
    "okta": Okta,
    "slack": Slack,
    "twitch": Twitch,
    "twitter": Twitter,
    "woocommerce": WooCommerce,
    "xero": Xero,
    "zoom": Zoom,
}
